"use strict";
(() => {
  const read = (id) => JSON.parse(document.getElementById(id).textContent);
  const dark = read("dark-colours");
  const prefersDark = window.matchMedia("(prefers-color-scheme: dark)");
  const charts = [...document.querySelectorAll(".chart")].map((node) => ({ node, figure: read(`${node.id}-data`) }));

  // Colours are the only strings of a figure that are keys of the dark palette.
  const repaint = (value) => {
    if (typeof value === "string") return dark[value] ?? value;
    if (Array.isArray(value)) return value.map(repaint);
    if (value && typeof value === "object") {
      return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, repaint(inner)]));
    }
    return value;
  };

  const drawOne = ({ node, figure }, paper) => {
    const fresh = structuredClone(figure);
    const { data, layout } = prefersDark.matches && !paper ? repaint(fresh) : fresh;
    // Paper has one width, and it is not the window's.
    const width = paper ? (node.closest(".pair") ? 325 : 660) : undefined;
    window.Plotly.react(node, data, { ...layout, width, autosize: !paper }, { displayModeBar: false, responsive: true });
  };
  const draw = (paper) => charts.forEach((chart) => drawOne(chart, paper));

  // For scripts that move a figure: change its data, then draw it again.
  window.tenureCharts = new Map(
    charts.map((chart) => [chart.node.id, { figure: chart.figure, redraw: () => drawOne(chart, false) }]),
  );

  prefersDark.addEventListener("change", () => draw(false));
  window.addEventListener("beforeprint", () => draw(true));
  window.addEventListener("afterprint", () => draw(false));
  draw(false);
  document.documentElement.dataset.charts = "drawn";
})();
