/* What moves on a page of etasim. Texts of the result reach the page as text nodes and as data of charts, never as HTML or code. */
"use strict";
(() => {
  const page = JSON.parse(document.getElementById("page-data").textContent);
  const $ = (id) => document.getElementById(id);
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const make = (name, text, attributes = {}) => {
    const made = document.createElement(name);
    if (text !== undefined) made.textContent = text;
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    return made;
  };
  const rowsOf = ({ columns, rows }) => rows.map((row) => Object.fromEntries(columns.map((name, i) => [name, row[i]])));
  const shown = (value) => (value === null || value === undefined ? "-" : typeof value === "number" ? value.toLocaleString("en", { maximumSignificantDigits: 9 }) : value);

  // ---- charts: one view each; those of an axis share its window, all share the layer that is chosen
  const views = new Map();
  const windows = {};
  const rows = page.datasets.rows ? rowsOf(page.datasets.rows) : [];

  const draw = async (figure) => {
    const { spec, axis } = page.charts[figure.dataset.chart];
    const datasets = Object.fromEntries(Object.entries(page.datasets).map(([name, table]) => [name, rowsOf(table)]));
    const plot = figure.querySelector(".plot");
    const options = { renderer: "svg", actions: false, ast: true, config: page.config, tooltip: { theme: "page", disableDefaultStyle: true } };
    const { view } = await vegaEmbed(plot, { ...spec, datasets, description: figure.querySelector("figcaption span").textContent }, options);
    views.set(figure.dataset.chart, view);
    view.addEventListener("click", (_, item) => item && item.datum && item.datum.layer !== undefined && choose(item.datum.layer));
    if (axis) {
      const whole = [view.signal("from"), view.signal("to")];
      windows[axis] = windows[axis] || { whole, now: whole };
      dragToZoom(plot, view, axis);
    }
    for (const button of all("[data-zoom]", figure)) button.addEventListener("click", () => zoom(axis, button.dataset.zoom));
    for (const box of all("fieldset input", figure)) box.addEventListener("change", () => toggle(figure, view));
    figure.querySelector("[data-save]").addEventListener("click", async () => save(`${figure.dataset.chart}.svg`, await view.toSVG(), "image/svg+xml"));
  };

  const toggle = (figure, view) => {
    view.signal("hidden", all("fieldset input", figure).filter((box) => !box.checked).map((box) => box.value)).runAsync();
  };

  const setWindow = (axis, from, to) => {
    const [first, last] = windows[axis].whole;
    const least = axis === "layer" ? 0 : (last - first) / 5000;
    const width = Math.min(Math.max(to - from, least), last - first);
    from = Math.min(Math.max(from, first), last - width);
    if (axis === "layer") from = Math.round(from);
    windows[axis].now = [from, axis === "layer" ? Math.round(from + width) : from + width];
    for (const figure of all(`figure[data-axis="${axis}"]`)) {
      const view = views.get(figure.dataset.chart);
      if (view) view.signal("from", windows[axis].now[0]).signal("to", windows[axis].now[1]).runAsync();
    }
  };

  const zoom = (axis, action) => {
    const [from, to] = windows[axis].now;
    const width = to - from;
    const changes = { in: [width / 4, -width / 4], out: [-width / 2, width / 2], left: [-width / 2, -width / 2], right: [width / 2, width / 2] };
    const [a, b] = changes[action] || [0, 0];
    if (action === "all") setWindow(axis, ...windows[axis].whole);
    else setWindow(axis, from + a, to + b);
  };

  const dragToZoom = (plot, view, axis) => {
    let start = null;
    const box = make("div", "", { class: "drag" });
    const place = (event) => event.clientX - plot.getBoundingClientRect().left - view.origin()[0];
    const value = (x) => {
      const scale = view.scale("x");
      if (axis === "time") return scale.invert(x);
      const names = scale.domain(), [begin, end] = scale.range();
      const name = names[Math.min(Math.max(Math.floor(((x - begin) / (end - begin)) * names.length), 0), names.length - 1)];
      return rows.find((row) => row.layer === name).layer_index;
    };
    plot.addEventListener("pointerdown", (event) => { if (event.button === 0 && event.pointerType !== "touch") start = place(event); });
    plot.addEventListener("pointermove", (event) => {
      if (start === null || Math.abs(place(event) - start) < 5) return;
      const x = place(event), left = view.origin()[0];
      box.style.left = `${Math.min(x, start) + left}px`;
      box.style.width = `${Math.abs(x - start)}px`;
      plot.append(box);
    });
    addEventListener("pointerup", (event) => {
      if (start === null) return;
      const ends = [start, place(event)].sort((a, b) => a - b);
      start = null;
      if (!box.isConnected) return;
      box.remove();
      setWindow(axis, ...ends.map(value));
    });
  };

  // ---- the layer that is chosen: marked everywhere, shown with all its figures
  const choose = (name) => {
    const known = rows.some((row) => row.layer === name);
    name = known ? name : null;
    if ($("choose")) $("choose").value = name ?? "";
    for (const line of all("#layer-rows tbody tr")) line.classList.toggle("chosen", line.dataset.layer === name);
    for (const view of views.values()) if ("chosen" in view.getState().signals) view.signal("chosen", name).runAsync();
    if (!$("layer-detail")) return;
    $("layer-note").hidden = known;
    $("layer-detail").replaceChildren(...(known ? detail(name) : []));
    if (known) history.replaceState(null, "", `#layer=${encodeURIComponent(name)}`);
  };

  const detail = (name) => {
    const own = rows.filter((row) => row.layer === name);
    const table = make("table"), head = table.createTHead().insertRow(), body = table.createTBody();
    table.createCaption().textContent = `${name}: the columns of layers.csv`;
    table.caption.dir = "auto";
    head.append(make("th", "figure", { scope: "col" }), ...own.map((row) => make("th", page.phases[row.phase] || row.phase, { scope: "col" })));
    const shows = body.insertRow();
    shows.append(make("th", "along the iteration", { scope: "row" }), ...own.map(showButton));
    for (const column of ["begin_ms", "end_ms", ...page.columns.slice(2)]) {
      if (own.every((row) => row[column] === null || row[column] === 0 || row[column] === undefined)) continue;
      const line = body.insertRow(), heading = make("th", undefined, { scope: "row" });
      heading.append(page.terms[column] ? make("a", column, { class: "term", href: `#term-${column}`, "data-term": column }) : column);
      line.append(heading, ...own.map((row) => make("td", shown(row[column]), { class: "number" })));
    }
    const box = make("div", undefined, { class: "scroll", tabindex: "0", role: "region", "aria-label": "Figures of the layer" });
    box.append(table);
    const nests = Object.entries(page.nests[name] || {});
    const loops = nests.flatMap(([phase, text]) => [make("h3", `Loops on the array: ${page.phases[phase]}`), make("pre", text, { tabindex: "0" })]);
    if (!loops.length) loops.push(make("p", "Loops on the array: make the page with --nests."));
    const grid = make("div", undefined, { class: "two" }), right = make("div");
    right.append(...loops);
    grid.append(box, right);
    return [grid];
  };

  // zooms all charts of time to a row, with as much again on both sides
  const showButton = (row) => {
    const cell = make("td"), button = make("button", "show", { type: "button", "aria-label": `show ${row.phase} along the iteration` });
    button.addEventListener("click", () => {
      const room = row.end_ms - row.begin_ms;
      setWindow("time", row.begin_ms - room, row.end_ms + room);
      document.querySelector('figure[data-axis="time"]').scrollIntoView();
    });
    cell.append(button);
    return cell;
  };

  // ---- tables that sort and filter
  const sortable = (table) => {
    const heads = all("thead th", table);
    heads.forEach((head, column) => head.querySelector("button")?.addEventListener("click", () => {
      const falling = head.getAttribute("aria-sort") !== "descending";
      heads.forEach((other) => other.setAttribute("aria-sort", other === head ? (falling ? "descending" : "ascending") : "none"));
      const key = (line) => line.cells[column].dataset.value ?? "";
      const numbers = all("tbody tr", table).every((line) => key(line) === "" || !Number.isNaN(Number(key(line))));
      const order = (a, b) => {
        const [x, y] = [key(a), key(b)];
        if (x === "" || y === "") return (x === "") - (y === "");
        return (falling ? -1 : 1) * (numbers ? x - y : x.localeCompare(y));
      };
      table.tBodies[0].append(...all("tbody tr", table).sort(order));
    }));
    for (const button of all("button.name", table)) button.addEventListener("click", () => choose(button.closest("tr").dataset.layer));
  };

  const filterRows = () => {
    const words = $("filter").value.toLowerCase().split(/\s+/).filter(Boolean);
    const lines = all("#layer-rows tbody tr");
    for (const line of lines) line.hidden = !words.every((word) => line.textContent.toLowerCase().includes(word));
    $("shown").textContent = ` ${lines.filter((line) => !line.hidden).length} of ${lines.length} rows`;
  };

  // ---- words of the glossary, on hover and on focus
  const explain = (event) => {
    const word = event.target.closest?.("[data-term]"), tip = $("tip");
    if (!word || !page.terms[word.dataset.term]) { tip.hidden = true; return; }
    const { unit, formula, meaning } = page.terms[word.dataset.term], place = word.getBoundingClientRect();
    tip.replaceChildren(make("strong", `${word.dataset.term}${unit ? ` [${unit}]` : ""}`), make("div", meaning), make("code", formula));
    tip.hidden = false;
    tip.style.left = `${Math.max(8, Math.min(place.left, innerWidth - tip.offsetWidth - 8))}px`;
    tip.style.top = place.bottom + tip.offsetHeight + 8 < innerHeight ? `${place.bottom + 6}px` : `${place.top - tip.offsetHeight - 6}px`;
    word.setAttribute("aria-describedby", "tip");
  };

  const save = (name, text, type = "text/plain") => {
    const link = make("a", "", { href: URL.createObjectURL(new Blob([text], { type })), download: name });
    link.click();
    URL.revokeObjectURL(link.href);
  };

  const themes = { "": "dark", dark: "light", light: "" };
  const live = async (seen) => {
    const answer = await fetch("state").then((response) => response.text(), () => null);
    if (answer !== null && answer !== seen && $("follow").checked) location.reload();
    else setTimeout(live, 2000, seen);
  };

  document.addEventListener("mouseover", explain);
  document.addEventListener("focusin", explain);
  document.addEventListener("keydown", (event) => { if (event.key === "Escape") $("tip").hidden = true; });
  $("theme").addEventListener("click", () => { document.documentElement.dataset.theme = themes[document.documentElement.dataset.theme || ""]; });
  for (const table of all("table.sortable")) sortable(table);
  for (const button of all("[data-download]")) button.addEventListener("click", () => save(button.dataset.download, page.downloads[button.dataset.download]));
  $("filter")?.addEventListener("input", filterRows);
  $("choose")?.addEventListener("change", () => choose($("choose").value));
  if (page.live) live(page.live);
  const drawAll = async () => {
    for (const figure of all("figure[data-chart]")) {
      await draw(figure);
      await new Promise((next) => setTimeout(next)); // the reader may scroll and click meanwhile
    }
    const wanted = location.hash.match(/^#layer=(.*)$/);
    if (wanted) choose(decodeURIComponent(wanted[1]));
    document.documentElement.dataset.ready = "true";
  };
  drawAll();
})();
