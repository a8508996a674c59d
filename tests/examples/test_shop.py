"""The example shop: its pages work, its hot spot is hot, its leak leaks."""

from __future__ import annotations

import cProfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from flask import Flask, Request

from tests.components import import_or_skip

import_or_skip("sqlalchemy")
import_or_skip("asgiref")

from shop import create_app  # noqa: E402
from shop.models import Order, Product  # noqa: E402
from shop.pricing import DISCOUNTS, Discount, euros, price_with_every_discount  # noqa: E402
from shop.visits import VISITS  # noqa: E402
from sqlalchemy import Engine, func, select, update  # noqa: E402
from sqlalchemy.orm import Session  # noqa: E402


def scalar(app: Flask, statement: object) -> int:
    with Session(engine_of(app)) as session:
        found: int = session.scalar(statement)  # type: ignore[call-overload]
        return found


def engine_of(app: Flask) -> Engine:
    engine: Engine = app.extensions["shop"]
    return engine


def set_stock(app: Flask, product_id: int, stock: int) -> None:
    with Session(engine_of(app)) as session:
        session.execute(update(Product).where(Product.id == product_id).values(stock=stock))
        session.commit()


def self_times(app: Flask, path: str) -> dict[str, float]:
    """What each function took by itself while ``path`` was served, in seconds; the path is warm."""
    client = app.test_client()
    assert client.get(path).status_code == 200
    profile = cProfile.Profile()
    profile.runcall(client.get, path)
    times: dict[str, float] = {}
    for entry in profile.getstats():
        name = entry.code if isinstance(entry.code, str) else entry.code.co_name
        times[name] = times.get(name, 0.0) + entry.inlinetime
    return times


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/", "Darjeeling First Flush"),
        ("/?category=ware", "Cast Iron Pot"),
        ("/products/7", "Sencha"),
        ("/products/7", "You may also like"),
        ("/deals", "With every discount"),
        ("/orders/1", "Assam Breakfast"),
        ("/visits", "Nobody has looked"),
        ("/api/products", '"name":"Sencha"'),
        ("/api/recommendations", '"products":'),
        ("/api/stock/7", '"Porto":33333'),
        ("/api/orders.csv", "order,product,quantity,cents"),
    ],
)
def test_a_visitor_finds(app: Flask, path: str, expected: str) -> None:
    response = app.test_client().get(path)
    assert response.status_code == 200
    assert expected in response.text


def test_a_category_shows_its_own_products_only(app: Flask) -> None:
    page = app.test_client().get("/?category=green").text
    assert "Sencha" in page
    assert "Keemun" not in page


def test_a_search_looks_at_names_and_descriptions(app: Flask) -> None:
    found = app.test_client().get("/api/products?query=SMOKE").get_json()["products"]
    assert [product["name"] for product in found] == ["Keemun", "Lapsang Souchong"]


@pytest.mark.parametrize("path", ["/products/999", "/orders/999", "/nowhere"])
def test_what_is_not_there_is_a_404(app: Flask, path: str) -> None:
    assert app.test_client().get(path).status_code == 404


def test_an_error_of_the_api_is_json(app: Flask) -> None:
    response = app.test_client().get("/api/stock/999")
    assert response.status_code == 404
    assert response.get_json() == {"error": "There is no such product."}


def test_a_checkout_sells_and_shows_the_receipt(app: Flask) -> None:
    client = app.test_client()
    response = client.post("/checkout", data={"product": 3, "quantity": 2})
    assert response.status_code == 303
    assert "2 × Keemun, €25.80" in client.get(response.headers["Location"]).text
    assert scalar(app, select(Product.stock).where(Product.id == 3)) == 99_998


def test_a_checkout_sells_nothing_when_there_is_not_enough(app: Flask) -> None:
    set_stock(app, 3, 1)
    orders = scalar(app, select(func.count()).select_from(Order))
    response = app.test_client().post("/checkout", data={"product": 3, "quantity": 2})
    assert response.status_code == 409
    assert "Sold out" in response.text
    assert scalar(app, select(Product.stock).where(Product.id == 3)) == 1
    assert scalar(app, select(func.count()).select_from(Order)) == orders


@pytest.mark.parametrize(
    ("form", "status"),
    [
        ({"product": 3, "quantity": 0}, 400),
        ({"product": 3, "quantity": 11}, 400),
        ({"product": 999}, 404),
        ({"product": "tea"}, 404),
        ({}, 404),
    ],
)
def test_a_wrong_order_is_refused(app: Flask, form: dict[str, object], status: int) -> None:
    assert app.test_client().post("/checkout", data=form).status_code == status


def test_customers_at_the_same_time_never_buy_more_than_there_is(app: Flask) -> None:
    set_stock(app, 3, 5)
    with ThreadPoolExecutor(8) as customers:
        orders = [customers.submit(app.test_client().post, "/checkout", data={"product": 3}) for _ in range(8)]
    assert sorted(order.result().status_code for order in orders) == [303] * 5 + [409] * 3
    assert scalar(app, select(Product.stock).where(Product.id == 3)) == 0


def test_the_orders_are_streamed(app: Flask) -> None:
    response = app.test_client().get("/api/orders.csv")
    assert response.is_streamed
    lines = response.text.splitlines()
    assert len(lines) == 241
    assert lines[1] == "1,Assam Breakfast,1,890"


def test_workers_that_start_at_once_fill_the_database_once(tmp_path: Path, closed_gate: None) -> None:
    config = {"DATABASE": f"sqlite:///{tmp_path / 'made' / 'on the way' / 'shop.sqlite3'}"}
    with ThreadPoolExecutor(6) as workers:
        apps = list(workers.map(create_app, [config] * 6))
    assert [scalar(app, select(func.count()).select_from(Product)) for app in apps] == [24] * 6
    for app in apps:
        engine_of(app).dispose()


def test_a_restart_keeps_the_orders(app: Flask) -> None:
    app.test_client().post("/checkout", data={"product": 3})
    again = create_app({"DATABASE": app.config["DATABASE"]})
    assert scalar(again, select(func.count()).select_from(Order)) == 241
    engine_of(again).dispose()


@pytest.mark.parametrize(
    ("discounts", "expected"),
    [
        ((), 1000),
        ((Discount("one", percent=10),), 900),
        ((Discount("one", percent=50), Discount("two", cents=100)), 400),  # the other order gives 450
        ((Discount("one", percent=50, floor=2000),), 1000),  # a discount that makes it dearer is left out
        ((Discount("one", cents=900), Discount("two", percent=20, floor=300)), 0),
    ],
)
def test_the_lowest_price_is_found_over_every_order(discounts: tuple[Discount, ...], expected: int) -> None:
    assert price_with_every_discount(1000, discounts) == expected


def test_no_price_in_the_shop_goes_below_nothing(app: Flask) -> None:
    with Session(engine_of(app)) as session:
        prices = session.scalars(select(Product.cents)).all()
    assert all(0 <= price_with_every_discount(cents, DISCOUNTS) < cents for cents in prices)


def test_cents_are_written_as_euros() -> None:
    assert [euros(cents) for cents in (5, 1690, 100_000)] == ["€0.05", "€16.90", "€1000.00"]


def test_the_hot_spot_of_the_deals_is_the_discounts(app: Flask) -> None:
    times = self_times(app, "/deals")
    assert times["price_with_every_discount"] > sum(times.values()) / 2


def test_one_helper_is_cheap_on_the_product_page_and_dear_in_the_recommendations(app: Flask) -> None:
    cheap = self_times(app, "/products/7")["rank_by_likeness"]
    dear = self_times(app, "/api/recommendations")["rank_by_likeness"]
    assert dear > 10 * cheap > 0


def test_every_visit_is_kept_with_its_request(app: Flask) -> None:
    client = app.test_client()
    for number in range(1, 21):
        response = client.get(f"/pixel/{number}.gif", headers={"Referer": f"http://localhost/products/{number}"})
        assert response.data.startswith(b"GIF89a")
    assert [visit.product_id for visit in VISITS] == list(range(1, 21))
    assert all(type(visit.request) is Request for visit in VISITS)
    assert len({id(visit.request) for visit in VISITS}) == 20


def test_the_last_visits_are_shown_newest_first(app: Flask) -> None:
    client = app.test_client()
    for number in (1, 2, 3, 4, 5, 6, 7):
        client.get(f"/pixel/{number}.gif", headers={"Referer": "http://localhost/deals"})
    page = client.get("/visits").text
    assert page.count("from http://localhost/deals") == 5
    assert page.index("Sencha") < page.index("Earl Grey") < page.index("Keemun")
    assert "Darjeeling" not in page


def test_a_closed_gate_leaves_the_shop_without_profiling(app: Flask) -> None:
    assert not [rule.rule for rule in app.url_map.iter_rules() if "profiling" in rule.rule]
    assert app.test_client().post("/debug/profiling/start").status_code == 404


def test_an_open_gate_adds_the_endpoints(tmp_path: Path, closed_gate: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLASK_ENV", "development")
    monkeypatch.setenv("PROFILING_ENABLED", "true")
    monkeypatch.setenv("PROFILING_OUTPUT_DIR", str(tmp_path / "profiling"))
    app = create_app({"DATABASE": f"sqlite:///{tmp_path / 'shop.sqlite3'}"})
    response = app.test_client().get("/debug/profiling/status")
    assert response.status_code == 200
    assert response.get_json()["active"] is False
    engine_of(app).dispose()
