"""Results as people read them: tables, and a plot."""

# Figures of a row that are shown, with their head and how they are written.
COLUMNS = {
    "cpu_us": ("CPU us/request", "{:.1f}"),
    "cpu_us_at_rate": ("the same, at the rate", "{:.1f}"),
    "instructions": ("instructions/request", "{:,.0f}"),
    "requests_per_second": ("requests/s", "{:,.0f}"),
    "rotations_per_second": ("rotations/s", "{:,.0f}"),
    "p50_us": ("p50 us", "{:,.0f}"),
    "p99_us": ("p99 us", "{:,.0f}"),
    "p999_us": ("p99.9 us", "{:,.0f}"),
    "idle_kib": ("idle MiB", "mib"),
    "loaded_kib": ("loaded MiB", "mib"),
    "one_token_kib": ("one token MiB", "mib"),
    "many_tokens_kib": ("all tokens MiB", "mib"),
    "bytes_per_token": ("bytes/token", "{:,.0f}"),
    "bytes_each": ("bytes each", "{:.0f}"),
    "first_us": ("first sight us", "{:.1f}"),
    "again_us": ("seen before us", "{:.1f}"),
    "difference_us": ("difference us", "{:.1f}"),
    "forged_us": ("forged us", "{:.1f}"),
    "cpu_us_own": ("our CPU us", "{:.1f}"),
    "cpu_us_store": ("Redis' CPU us", "{:.1f}"),
    "syncs_per_second": ("syncs/s of the disk alone", "{:,.0f}"),
    "rotations_per_sync": ("rotations/sync", "{:.2f}"),
    "refreshes_per_second": ("refreshes/s", "{:,.0f}"),
    "refresh_p50_us": ("p50 us", "{:,.0f}"),
    "refresh_p99_us": ("p99 us", "{:,.0f}"),
    "refresh_cpu_us": ("CPU us", "{:.0f}"),
    "refresh_store_cpu_us": ("store CPU us", "{:.0f}"),
    "logouts_per_second": ("logouts/s", "{:,.0f}"),
    "logout_p50_us": ("p50 us", "{:,.0f}"),
    "logout_p99_us": ("p99 us", "{:,.0f}"),
    "logout_cpu_us": ("CPU us", "{:.0f}"),
    "logout_store_cpu_us": ("store CPU us", "{:.0f}"),
    "after_request_p50_us": ("after the request: p50 us", "{:,.0f}"),
    "after_request_p99_us": ("p99 us", "{:,.0f}"),
    "after_request_max_us": ("max us", "{:,.0f}"),
    "before_answer_percent": ("before the 204: %", "{:.0f}"),
    "after_answer_p50_us": ("after the 204: p50 us", "{:,.0f}"),
    "after_answer_p99_us": ("p99 us", "{:,.0f}"),
    "after_answer_max_us": ("max us", "{:,.0f}"),
}


def written(value, form):
    if value is None:
        return ""
    return f"{value / 1024:.1f}" if form == "mib" else form.format(value)


def table(rows):
    """A table in Markdown; bare Pingora, where it is there, is what the others are held against."""
    columns = [name for name in COLUMNS if any(name in row for row in rows)]
    heads = ["", *(COLUMNS[name][0] for name in columns)]
    base_name = next((name for name in ["instructions", "cpu_us"] if name in columns), None)
    base = next((row[base_name] for row in rows if row["label"].startswith("bare") and base_name in row), None)
    if base:
        heads.append("of bare")
    lines = [heads, ["---"] * len(heads)]
    for row in rows:
        cells = [row["label"], *(written(row.get(name), COLUMNS[name][1]) for name in columns)]
        if base:
            cells.append(f"{row[base_name] / base:.3f}" if base_name in row else "")
        lines.append(cells)
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def plot(title, rows, name="cpu_us"):
    """Bars in SVG."""
    rows = [row for row in rows if name in row]
    if not rows:
        return None
    most = max(row[name] for row in rows)
    height, left, width = 24, 190, 460
    bars = []
    for number, row in enumerate(rows):
        y = 40 + number * height
        colour = "#0a6" if row["label"].startswith("portcullis") else "#68a" if row["label"].startswith("bare") else "#bbb"
        length = max(1, row[name] / most * width)
        bars.append(
            f'<text x="{left - 8}" y="{y + 13}" text-anchor="end">{row["label"]}</text>'
            f'<rect x="{left}" y="{y}" width="{length:.0f}" height="{height - 6}" fill="{colour}"/>'
            f'<text x="{left + length + 6:.0f}" y="{y + 13}">{row[name]:.1f}</text>'
        )
    size = f'width="{left + width + 70}" height="{56 + len(rows) * height}"'
    style = 'font-family="sans-serif" font-size="12"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size} {style}><text x="8" y="20" font-size="14">{title}</text>{"".join(bars)}</svg>\n'
