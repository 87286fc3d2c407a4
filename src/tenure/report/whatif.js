
// The sliders under "Money": the formulas and words of whatif.py, worked out again for other assumptions.
(() => {
  const source = document.getElementById("whatif-data");
  if (!source) return;
  const curve = JSON.parse(source.textContent);
  const chart = window.tenureCharts.get("chart-profit");
  const names = ["place", "capacity", "rate", "incentive"];
  const part = (name) => document.getElementById(`whatif-${name}`);
  const last = curve.contacted.length - 1;

  const MINUS = "\u2212", THIN = "\u202f", DASH = "\u2013";
  const signed = (text) => text.replace("-", MINUS);
  // Python rounds an exact half to the even digit, toFixed away from zero; 60 more digits tell a half from almost one.
  const fixed = (number, decimals) => {
    const exact = number.toFixed(decimals + 60);
    const kept = exact.slice(0, exact.length - 60).replace(/\.$/, "");
    return /^50*$/.test(exact.slice(-60)) && Number(kept.at(-1)) % 2 === 0 ? kept : number.toFixed(decimals);
  };
  const grouped = (number, decimals) =>
    signed(fixed(number, decimals)).replace(/\d(?=(\d{3})+(\.|$))/g, "$&,");
  const count = (number) => grouped(number, 0);
  const amount = (number) => grouped(number, Math.abs(number) >= 100 || Number.isInteger(number) ? 0 : 2);
  const percent = (share) => {
    const size = Math.abs(share);
    const decimals = size >= 0.2 || size === 0 ? 0 : size >= 0.00095 ? 1 : 2;
    return `${signed(fixed(share * 100, decimals))}${THIN}%`;
  };
  const plural = (number, one) => `${count(number)} ${one}${number === 1 ? "" : "s"}`;
  const withInterval = (value, low, high) => {
    const ends = [amount(low), amount(high)];
    if (ends[0] === ends[1]) return amount(value);
    return `${amount(value)} [${ends[0]}${ends[0][0] === MINUS ? " to " : DASH}${ends[1]}]`;
  };

  const level = (place) => (curve.stake ? amount(curve.score[place]) : percent(curve.score[place]));
  const border = (place) => `a ${curve.stake ? "value at stake" : "churn probability"} of ${level(place)}`;
  const atCapacity = (capacity) => curve.contacted.findLastIndex((contacted) => contacted <= capacity);
  const paysFrom = (g, d) => {
    const cost = d + curve.contact;
    if (curve.stake) return g > 0 ? cost / g : Infinity;
    const slope = g * (curve.clv - d) + d;
    return slope > 0 ? cost / slope : cost === 0 ? 0 : Infinity;
  };
  const atThreshold = (threshold) =>
    threshold === Infinity ? 0 : curve.score.findLastIndex((score) => score === null || score >= threshold);

  const study = (g, d) => {
    const weights = [g, d - g * d, -d - curve.contact];
    const [a, b, c] = weights;
    const squares = [a * a, b * b, c * c, 2 * a * b, 2 * a * c, 2 * b * c];
    const profit = curve.worth.map((worth, i) => a * worth + b * curve.lost[i] + c * curve.contacted[i]);
    const half = curve.spread.map(
      (spread) => 1.959963984540054 * Math.sqrt(Math.max(spread.reduce((sum, value, i) => sum + value * squares[i], 0), 0)),
    );
    return { profit, half, pays: atThreshold(paysFrom(g, d)) };
  };

  const sentences = ({ profit, half, pays }, shown) => {
    const everybody = `Contacting everybody earns ${amount(profit[last])}.`;
    let best = "That is where it pays under these assumptions.";
    if (pays === 0) best = "No contact pays under these assumptions.";
    else if (shown !== pays) {
      const verb = curve.contacted[pays] === 1 ? "earns" : "earn";
      best = `Where it pays under these assumptions, from ${border(pays)} on, ${plural(curve.contacted[pays], "contact")} ${verb} ${amount(profit[pays])}.`;
    }
    if (shown === 0) return `Contacting nobody earns nothing. ${best} ${everybody}`;
    const reached = curve.contacted[shown], value = profit[shown];
    const earned = withInterval(value, value - half[shown], value + half[shown]);
    return `Contacting ${count(reached)} of ${plural(curve.rows, "customer")} (${percent(reached / curve.rows)}), from ${border(shown)} on, earns ${earned}. ${best} ${everybody}`;
  };

  const state = { ...curve.start };
  const update = () => {
    const found = study(state.rate / 100, state.incentive);
    const shown = Math.min(state.place, atCapacity(state.capacity));
    const texts = {
      place: state.place === 0 ? "nobody" : level(state.place) + (curve.stake ? " at stake" : ""),
      capacity: state.capacity >= curve.rows ? "no limit" : count(state.capacity),
      rate: percent(state.rate / 100),
      incentive: amount(state.incentive),
    };
    for (const name of names) {
      part(name).value = state[name];
      part(`${name}-said`).textContent = texts[name];
      part(name).setAttribute("aria-valuetext", texts[name]);
    }
    part("said").textContent = sentences(found, shown);
    const share = curve.contacted.map((contacted) => contacted / curve.rows);
    const low = found.profit.map((profit, i) => profit - found.half[i]);
    const high = found.profit.map((profit, i) => profit + found.half[i]);
    const [band, line, where, here] = chart.figure.data;
    [band.x, band.y] = [[...share, ...share.toReversed()], [...low, ...high.toReversed()]];
    [line.x, line.y] = [share, found.profit];
    [where.x, where.y] = [[share[found.pays]], [found.profit[found.pays]]];
    [here.x, here.y] = [[share[shown]], [found.profit[shown]]];
    chart.redraw();
  };

  const tidy = { place: Number, capacity: Number, rate: (text) => Math.round(text * 10) / 10, incentive: (text) => Math.round(text * 100) / 100 };
  for (const name of names) {
    part(name).addEventListener("input", (event) => {
      state[name] = tidy[name](event.target.value);
      update();
    });
  }
  part("pays").addEventListener("click", () => {
    state.place = study(state.rate / 100, state.incentive).pays;
    update();
  });
  part("start").addEventListener("click", () => {
    Object.assign(state, curve.start);
    update();
  });
  update();
})();
