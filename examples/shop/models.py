"""The tables of the shop: products, their reviews, and orders. What stands in them at first is in ``seed``."""

from __future__ import annotations

from datetime import datetime, timezone

from sqlalchemy import CheckConstraint, ForeignKey
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship


def _now() -> datetime:
    return datetime.now(timezone.utc)


class Base(DeclarativeBase):
    """What all tables share."""


class Product(Base):
    """Something to buy. Prices are whole cents."""

    __tablename__ = "product"
    __table_args__ = (CheckConstraint("stock >= 0"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    category: Mapped[str] = mapped_column(index=True)
    description: Mapped[str]
    cents: Mapped[int]
    stock: Mapped[int]
    reviews: Mapped[list[Review]] = relationship(back_populates="product", order_by="Review.id")


class Review(Base):
    """What a customer said about a product, with 1 to 5 stars."""

    __tablename__ = "review"

    id: Mapped[int] = mapped_column(primary_key=True)
    product_id: Mapped[int] = mapped_column(ForeignKey("product.id"), index=True)
    author: Mapped[str]
    stars: Mapped[int]
    text: Mapped[str]
    product: Mapped[Product] = relationship(back_populates="reviews")


class Order(Base):
    """A quantity of one product, sold at the price of that moment."""

    __tablename__ = "order"

    id: Mapped[int] = mapped_column(primary_key=True)
    product_id: Mapped[int] = mapped_column(ForeignKey("product.id"))
    quantity: Mapped[int]
    cents: Mapped[int]
    created: Mapped[datetime] = mapped_column(default=_now)
    product: Mapped[Product] = relationship()
