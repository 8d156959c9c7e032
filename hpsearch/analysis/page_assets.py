"""The style sheet and the script of a report's page."""

from __future__ import annotations

STYLE = """
:root { color-scheme: light dark; --ink: #1f2937; --muted: #6b7280; --line: #e5e7eb;
  --paper: #ffffff; --back: #f6f7f9; --accent: #2563eb; }
@media (prefers-color-scheme: dark) { :root { --ink: #e5e7eb; --muted: #9ca3af;
  --line: #30363d; --paper: #161b22; --back: #0d1117; --accent: #60a5fa; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--back); color: var(--ink);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", sans-serif; }
main { max-width: 1120px; margin: 0 auto; padding: 24px 16px 64px; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 8px 0; overflow-wrap: anywhere; }
h2 { font-size: 1.15rem; margin: 0 0 8px; }
p { margin: 8px 0; max-width: 78ch; }
code, pre { font: 0.88em/1.5 ui-monospace, "DejaVu Sans Mono", Menlo, monospace; }
code { overflow-wrap: anywhere; }
.state { display: inline-block; vertical-align: middle; font-size: 0.8rem; font-weight: 600;
  padding: 2px 10px; border-radius: 99px; border: 1px solid currentColor; color: var(--accent); }
.state.failed, .state.stopped { color: #dc2626; }
section, .tiles > div { background: var(--paper); border: 1px solid var(--line);
  border-radius: 10px; }
section { padding: 18px; margin: 16px 0; }
.tiles { display: grid; gap: 12px; margin: 20px 0;
  grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); }
.tiles > div { padding: 12px 16px; }
.tiles dt { color: var(--muted); font-size: 0.85rem; }
.tiles dd { margin: 0; font-size: 1.55rem; font-weight: 650; }
.tiles dd.note { color: var(--muted); font-size: 0.8rem; font-weight: 400; line-height: 1.35; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: 0.9rem; margin: 8px 0; }
th, td { text-align: left; padding: 5px 14px 5px 0; border-bottom: 1px solid var(--line);
  vertical-align: top; }
th { color: var(--muted); font-weight: 500; white-space: nowrap; }
td { min-width: 3em; }
td.short { white-space: nowrap; font-variant-numeric: tabular-nums; }
details { margin: 8px 0; }
summary { color: var(--accent); cursor: pointer; font-size: 0.9rem; }
pre { overflow-x: auto; background: var(--back); border-radius: 6px; padding: 12px;
  margin: 8px 0; }
.figure { width: 100%; margin: 12px 0; }
.figure:empty:not([data-known]) { margin: 0; }
.scroll > .figure { min-width: 640px; }
.slices { display: grid; gap: 8px 20px;
  grid-template-columns: repeat(auto-fill, minmax(min(320px, 100%), 1fr)); }
.slices .figure { min-width: 0; }
@media (max-width: 600px) { main { padding: 12px 8px 40px; } section { padding: 14px 12px; }
  .tiles { grid-template-columns: 1fr 1fr; gap: 8px; } }
"""

#: fills the places of figures; `draw` may be called again with newer ones
SCRIPT = """
const dark = window.matchMedia("(prefers-color-scheme: dark)");
// On a touch screen a drag must scroll the page, not zoom the figure.
const touch = window.matchMedia("(pointer: coarse)").matches;
let report = { figures: {} };
let work = Promise.resolve();
const near = new IntersectionObserver((entries) => {
  for (const entry of entries) if (entry.isIntersecting) enqueue(entry.target);
}, { rootMargin: "400px" });

// A figure is drawn once it comes near the screen: a page of many is there at once.
function draw(newest) {
  report = newest;
  for (const figure of Object.values(report.figures))
    for (const trace of figure.data)
      if (trace.customdata) trace.text = trace.customdata.map((number) => report.hover[number]);
  for (const place of document.querySelectorAll("[data-figure]")) {
    const figure = report.figures[place.dataset.figure];
    if (!figure) continue;
    place.style.minHeight = `${figure.layout.height ?? 450}px`;
    place.dataset.known = "";
    near.unobserve(place);
    near.observe(place);
  }
}

// One at a time, so that the page can be scrolled and read meanwhile.
function enqueue(place) {
  near.unobserve(place);
  work = work.then(() => fill(place)).then(() => new Promise((resolve) => setTimeout(resolve)));
}

function fill(place) {
  const figure = report.figures[place.dataset.figure];
  if (!figure || !place.isConnected) return null;
  const template = report.themes[dark.matches ? "dark" : "light"];
  const layout = { ...figure.layout, template, uirevision: "same" };
  if (touch) layout.dragmode = false;
  if (!place.classList.contains("js-plotly-plot")) place.replaceChildren();
  return Plotly.react(place, figure.data, layout, { responsive: true, displayModeBar: false });
}

addEventListener("beforeprint", () => {
  for (const place of document.querySelectorAll("[data-known]:not(.js-plotly-plot)")) fill(place);
});
dark.addEventListener("change", () => draw(report));
"""

#: draws the figures that the page itself holds
START = """
draw(JSON.parse(document.getElementById("figures").textContent));
"""
