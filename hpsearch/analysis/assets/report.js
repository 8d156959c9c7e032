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
