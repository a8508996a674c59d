from flask import Flask

from flask_profiling import Profiling

app = Flask(__name__)
Profiling(app)

KEPT = []


class Visit:
    def __init__(self, page):
        self.page = page


def squares(count):
    return sum(number * number for number in range(count))


@app.get("/slow")
def slow():
    return str(squares(300_000))


@app.get("/quick")
def quick():
    KEPT.append(Visit("quick"))
    return str(squares(300))
