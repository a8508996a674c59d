"""What the shop sells when it opens: plain data, the same on every machine."""

from __future__ import annotations

from .models import Order, Product, Review

TEAS = [
    ("Assam Breakfast", "black", 890, "A brisk and malty black tea from a wide valley, strong enough for milk."),
    ("Darjeeling First Flush", "black", 1690, "A light and floral black tea of the first spring, best without milk."),
    ("Keemun", "black", 1290, "A smooth black tea with a note of cocoa and a thin thread of smoke."),
    ("Lapsang Souchong", "black", 1190, "A black tea dried over pine fires, with the smoke of a winter evening."),
    ("Ceylon Highland", "black", 790, "A bright and brisk black tea from high gardens, good with lemon."),
    ("Earl Grey", "black", 990, "A black tea scented with the oil of bergamot, good with lemon, without milk."),
    ("Sencha", "green", 1090, "A fresh green tea, steamed and rolled, with the taste of the sea and of grass."),
    ("Gyokuro", "green", 2990, "A shaded green tea, sweet and dark, steamed and rolled in the first spring."),
    ("Longjing", "green", 1890, "A flat green tea fired in the pan, with the taste of chestnut and of grass."),
    ("Genmaicha", "green", 890, "A green tea with toasted rice, warm and light, good at every hour."),
    ("Hojicha", "green", 950, "A green tea toasted over fires until it is brown, warm and low in caffeine."),
    ("Jasmine Pearls", "green", 1790, "A green tea rolled by hand and scented with the flowers of six nights."),
    ("Tieguanyin", "oolong", 1590, "A light and floral oolong, rolled tight, which opens over six infusions."),
    ("Da Hong Pao", "oolong", 2490, "A dark oolong from high cliffs, toasted over slow fires, with a note of stone."),
    ("Oriental Beauty", "oolong", 2190, "A sweet oolong with the taste of honey, picked in the summer."),
    ("Dong Ding", "oolong", 1490, "A warm and toasted oolong, rolled by hand, with a note of chestnut."),
    ("Silver Needle", "white", 2290, "A white tea of buds alone, picked in the first spring and dried in the sun."),
    ("White Peony", "white", 1390, "A light white tea of buds and leaves, sweet, with the taste of hay and honey."),
    ("Rooibos", "herbal", 590, "A sweet and red infusion without caffeine, good with milk at every hour."),
    ("Peppermint", "herbal", 490, "A fresh infusion of whole leaves without caffeine, good after every evening."),
    ("Chamomile", "herbal", 540, "A sweet infusion of whole flowers without caffeine, best in the evening."),
    ("Cast Iron Pot", "ware", 5900, "A heavy pot that keeps green tea warm, for six cups, enamelled inside."),
    ("Porcelain Gaiwan", "ware", 2400, "A thin bowl with a lid, best for oolong and its six infusions."),
    ("Bamboo Whisk", "ware", 1800, "A whisk cut by hand from one piece of bamboo, for green tea in a bowl."),
]  # fmt: skip

REVIEWS = [
    ("Ada", 5, "I order it every spring."),
    ("Grace", 4, "Better with a little less of it in the pot."),
    ("Alan", 3, "Good, but my neighbour likes it more than I do."),
    ("Barbara", 5, "The whole office drinks it by now."),
    ("Edsger", 2, "Considered harmful after six in the evening."),
]

REVIEWS_PER_PRODUCT = 3
OPENING_ORDERS = 240


def opening_stock() -> list[Product | Order]:
    """The rows of an empty shop: products with reviews, and orders enough for a file that is worth streaming."""
    products = [
        Product(name=name, category=category, cents=cents, description=description, stock=100_000)
        for name, category, cents, description in TEAS
    ]
    for position, product in enumerate(products):
        for offset in range(REVIEWS_PER_PRODUCT):
            author, stars, text = REVIEWS[(position + offset) % len(REVIEWS)]
            product.reviews.append(Review(author=author, stars=stars, text=text))
    orders = [
        Order(product=product, quantity=1 + number % 3, cents=product.cents)
        for number, product in enumerate(products * (OPENING_ORDERS // len(products)))
    ]
    return [*products, *orders]
