"""How the demonstration ends: the service is started, asked, told an event, and stopped."""

from __future__ import annotations

from tenure.app.demo_service import ask_service
from tenure.app.scoring import score
from tests.serve.project import AS_OF, Shop


def test_the_service_is_asked_and_told_an_event(shop: Shop) -> None:
    place = shop.place()
    served = ask_service(place, shop.config, score(place, AS_OF))
    assert served.version == "v1"
    assert len({told.customer_id for told in served.scores}) == 3
    assert {told.source for told in served.scores} <= {"batch", "realtime"}, "nothing was degraded"
    assert served.scores[0].reasons
    before, after = served.before, served.after
    assert (before.source, before.features_as_of) == ("batch", AS_OF)
    assert after.source == "realtime"
    assert before.customer_id == after.customer_id == served.event["customer_id"]
    assert after.probability < before.probability, "who came back is less likely to leave"
