"""The pages that people see, from the product list to the receipt. What programs ask for is in ``api``."""

from __future__ import annotations

import base64
from typing import cast

from flask import Blueprint, Request, Response, abort, redirect, render_template, request, url_for
from sqlalchemy import func, select, update
from sqlalchemy.orm import joinedload, selectinload
from werkzeug.local import LocalProxy
from werkzeug.wrappers import Response as BaseResponse

from .database import database
from .likeness import rank_by_likeness
from .models import Order, Product, Review
from .pricing import price_with_every_discount
from .visits import Visit, last_visits, remember

pages = Blueprint("pages", __name__)

ONE_PIXEL = base64.b64decode("R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7")
MOST_PER_ORDER = 10


@pages.get("/")
def products() -> str:
    """All products, or those of ``?category=``, with their average stars."""
    category = request.args.get("category")
    query = select(Product, func.avg(Review.stars)).join(Product.reviews).group_by(Product.id).order_by(Product.name)
    if category:
        query = query.where(Product.category == category)
    categories = database().scalars(select(Product.category).distinct().order_by(Product.category))
    rows = database().execute(query).all()
    return render_template("products.html", rows=rows, categories=categories.all(), chosen=category)


@pages.get("/products/<int:product_id>")
def product(product_id: int) -> str:
    """One product with its reviews, and three others of its category that are like it."""
    found = database().get(Product, product_id, options=[selectinload(Product.reviews)])
    if found is None:
        abort(404)
    others = database().scalars(select(Product).where(Product.category == found.category, Product.id != found.id))
    alike = rank_by_likeness([found], others.all())[:3]
    return render_template("product.html", product=found, alike=alike, most=MOST_PER_ORDER)


@pages.get("/deals")
def deals() -> str:
    """Every product at its lowest price. This is the slow page."""
    found = database().scalars(select(Product).order_by(Product.name)).all()
    rows = [(product, price_with_every_discount(product.cents)) for product in found]
    return render_template("deals.html", rows=rows)


@pages.post("/checkout")
def checkout() -> BaseResponse | tuple[str, int]:
    """Sell ``quantity`` of ``product`` (form fields) and show the receipt; 409 when there is not enough of it."""
    product_id = request.form.get("product", type=int)
    quantity = request.form.get("quantity", default=1, type=int)
    if not 1 <= quantity <= MOST_PER_ORDER:
        abort(400, f"Between 1 and {MOST_PER_ORDER} of one product can be ordered at once.")
    found = database().get(Product, product_id) if product_id else None
    if found is None:
        abort(404)
    # One statement checks and takes, so that two customers cannot buy the same last pot.
    taken = database().scalar(
        update(Product)
        .where(Product.id == found.id, Product.stock >= quantity)
        .values(stock=Product.stock - quantity)
        .returning(Product.id)
    )
    if taken is None:
        return render_template("sold_out.html", product=found), 409
    order = Order(product=found, quantity=quantity, cents=found.cents)
    database().add(order)
    database().commit()
    return redirect(url_for("pages.receipt", order_id=order.id), 303)


@pages.get("/orders/<int:order_id>")
def receipt(order_id: int) -> str:
    """What was bought."""
    order = database().get(Order, order_id, options=[joinedload(Order.product)])
    if order is None:
        abort(404)
    return render_template("receipt.html", order=order)


@pages.get("/pixel/<int:product_id>.gif")
def pixel(product_id: int) -> Response:
    """The invisible picture by which the shop counts visits. This is the leak."""
    this_request = cast("LocalProxy[Request]", request)._get_current_object()
    remember(Visit(product_id, this_request))
    return Response(ONE_PIXEL, mimetype="image/gif", headers={"Cache-Control": "no-store"})


@pages.get("/visits")
def visits() -> str:
    """The last five visits that this worker has seen."""
    names = {product.id: product.name for product in database().scalars(select(Product))}
    return render_template("visits.html", visits=last_visits(5), names=names)
