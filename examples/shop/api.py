"""What programs ask the shop for: JSON, an asynchronous view and a streamed file. What people see is in ``pages``."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from flask import Blueprint, Response, abort, jsonify, request
from sqlalchemy import Engine, func, select
from sqlalchemy.orm import Session
from werkzeug.exceptions import HTTPException

from .database import database, engine
from .likeness import rank_by_likeness
from .models import Order, Product

api = Blueprint("api", __name__, url_prefix="/api")

WAREHOUSES = {"Riga": 0.004, "Porto": 0.006, "Ghent": 0.008}


@api.errorhandler(HTTPException)
def explain(error: HTTPException) -> tuple[Response, int]:
    """Errors under ``/api`` are JSON too."""
    return jsonify(error=error.description), error.code or 500


@api.get("/products")
def products() -> Response:
    """All products, or those whose name or description contains ``?query=``."""
    query = select(Product).order_by(Product.id)
    wanted = request.args.get("query", "")
    if wanted:
        query = query.where(Product.name.icontains(wanted) | Product.description.icontains(wanted))
    return jsonify(products=[_as_json(product) for product in database().scalars(query)])


@api.get("/recommendations")
def recommendations() -> Response:
    """The five products that are most like everything that has been sold. The work is in ``rank_by_likeness``."""
    sold = select(Product).join(Order).group_by(Product.id).order_by(func.sum(Order.quantity).desc())
    everything = database().scalars(select(Product)).all()
    ranked = rank_by_likeness(database().scalars(sold).all(), everything)
    return jsonify(products=[_as_json(product) for product in ranked[:5]])


@api.get("/stock/<int:product_id>")
async def stock(product_id: int) -> Response:
    """What each warehouse has of a product. The warehouses are asked at the same time."""
    product = database().get(Product, product_id)
    if product is None:
        abort(404, "There is no such product.")
    shares = await asyncio.gather(*(_ask_warehouse(name, product.stock) for name in WAREHOUSES))
    return jsonify(product=product.name, stock=dict(zip(WAREHOUSES, shares, strict=True)))


@api.get("/orders.csv")
def orders() -> Response:
    """All orders as a file, sent while it is being read from the database."""
    return Response(_order_lines(engine()), mimetype="text/csv")


def _as_json(product: Product) -> dict[str, object]:
    return {"id": product.id, "name": product.name, "category": product.category, "cents": product.cents}


async def _ask_warehouse(name: str, stock: int) -> int:
    await asyncio.sleep(WAREHOUSES[name])  # The way to the warehouse and back.
    return stock // len(WAREHOUSES)


def _order_lines(source: Engine) -> Iterator[str]:
    # The body is sent after the request has closed its own database session, so it brings one along.
    query = select(Order.id, Product.name, Order.quantity, Order.cents).join(Product).order_by(Order.id)
    with Session(source) as session:
        yield "order,product,quantity,cents\n"
        for number, name, quantity, cents in session.execute(query.execution_options(yield_per=50)):
            yield f"{number},{name},{quantity},{cents}\n"
