"""Bar charts as SVG, without a library."""

from html import escape, unescape

# Distinguishable with colour blindness (Okabe and Ito).
COLOURS = {
    "static": "#999999",
    "varnish": "#e69f00",
    "nginx": "#0072b2",
    "s3proxy": "#009e73",
}
WIDTH, HEIGHT = 860, 420
LEFT, RIGHT, TOP, BOTTOM = 70, 20, 92, 52
FONT = "font-family='Helvetica, Arial, sans-serif'"


def step(most):
    """The distance of the axis's lines: about six of them, at 1, 2 or 5 times a power of ten."""
    unit = 10.0 ** -6
    while True:
        for factor in (1, 2, 5):
            if most <= 6 * factor * unit:
                return factor * unit
        unit *= 10


def text(x, y, words, size=12, anchor="middle", more=""):
    # Readable also where a line passes behind it.
    return (
        f"<text x='{x:.1f}' y='{y:.1f}' font-size='{size}' text-anchor='{anchor}'"
        f" paint-order='stroke' stroke='#ffffff' stroke-width='3' {more}>"
        f"{escape(words)}</text>"
    )


def title(svg):
    """The title of a chart of `bars`."""
    return unescape(svg.partition("aria-label='")[2].partition("'")[0])


def bars(title, subtitle, unit, groups, series, names, marks=None, mark=""):
    """A group of bars for each of `groups`. `series` has, by key of COLOURS, a (height, label) for
    each group, or None; `names` has their names in the legend; `marks` are heights to stay under."""
    values = [value[0] for bars in series.values() for value in bars if value]
    most = max([*values, *filter(None, marks or []), 1e-6]) * 1.08
    lines = step(most)
    plot_width, plot_height = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM

    def y(value):
        return TOP + plot_height * (1 - value / most)

    out = [
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {WIDTH} {HEIGHT}' width='{WIDTH}'"
        f" height='{HEIGHT}' role='img' aria-label='{escape(title, quote=True)}' {FONT}>",
        f"<rect width='{WIDTH}' height='{HEIGHT}' fill='#ffffff'/>",
        text(LEFT, 26, title, 17, "start", "font-weight='bold'"),
        text(LEFT, 46, subtitle, 12, "start", "fill='#555555'"),
    ]
    tick = 0
    while tick * lines <= most:
        at = y(tick * lines)
        out.append(f"<path d='M{LEFT} {at:.1f}H{WIDTH - RIGHT}' stroke='#dddddd'/>")
        out.append(text(LEFT - 8, at + 4, f"{tick * lines:g}", 11, "end", "fill='#333333'"))
        tick += 1
    middle = TOP + plot_height / 2
    out.append(text(18, middle, unit, 12, "middle", f"transform='rotate(-90 18 {middle:.1f})'"))

    group_width = plot_width / len(groups)
    bar_width = group_width * 0.84 / len(series)
    labels = []
    for nth, group in enumerate(groups):
        left = LEFT + nth * group_width + group_width * 0.08
        out.append(text(left + group_width * 0.42, HEIGHT - BOTTOM + 22, group, 13))
        for place, (name, heights) in enumerate(series.items()):
            if heights[nth] is None:
                continue
            height, label = heights[nth]
            x = left + place * bar_width
            out.append(
                f"<rect x='{x + 1:.1f}' y='{y(height):.1f}' width='{bar_width - 2:.1f}'"
                f" height='{TOP + plot_height - y(height):.1f}' fill='{COLOURS[name]}'/>"
            )
            labels.append(text(x + bar_width / 2, y(height) - 4, label, 10, more="fill='#222222'"))
        if marks and marks[nth]:
            right = left + group_width * 0.84
            out.append(
                f"<path d='M{left:.1f} {y(marks[nth]):.1f}H{right:.1f}' stroke='#c00000'"
                " stroke-width='1.6' stroke-dasharray='6 4'/>"
            )
    out.append(f"<path d='M{LEFT} {y(0):.1f}H{WIDTH - RIGHT}' stroke='#333333'/>")
    out += labels

    x = LEFT
    for name in series:
        out.append(f"<rect x='{x}' y='58' width='12' height='12' fill='{COLOURS[name]}'/>")
        out.append(text(x + 17, 68, names[name], 12, "start"))
        x += 32 + 6.6 * len(names[name])
    if marks:
        out.append(
            f"<path d='M{x:.0f} 64h22' stroke='#c00000' stroke-width='1.6' stroke-dasharray='6 4'/>"
        )
        out.append(text(x + 28, 68, mark, 12, "start"))
    return "\n".join([*out, "</svg>\n"])
