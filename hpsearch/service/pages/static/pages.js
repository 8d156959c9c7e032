document.documentElement.classList.add("scripted");
const live = document.getElementById("live");
let source = null; // of events, while the page can be seen
let waiting = null; // the timer of the next look
let pause = 1000; // milliseconds between two looks: longer where a look takes long
let drawn = null; // the tag of the figures that are drawn, or will be when they are looked at

async function refresh() {
  waiting = null;
  const began = performance.now();
  try {
    const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
    if (answer.redirected || !answer.ok) return end();
    const newest = new DOMParser().parseFromString(await answer.text(), "text/html");
    replaceParts(newest);
    await drawFigures();
    // What was found comes later where it takes long.
    const again = Number(newest.getElementById("found")?.dataset.again);
    if (again) setTimeout(look, 1000 * again);
  } catch {
    tell("no connection", false); // the next event, or the next look, tries again
  }
  // Not all pages at the same moment, though the same event has woken them.
  pause = Math.max(1000, 5 * (performance.now() - began)) * (0.5 + Math.random());
}

function replaceParts(newest) {
  for (const part of document.querySelectorAll("[data-live]")) {
    const other = newest.getElementById(part.id);
    const isInUse = part.id !== "found" && part.contains(document.activeElement);
    if (!other || isInUse || part.dataset.text === other.innerHTML) continue;
    const text = other.innerHTML;
    keepOpen(part, other);
    for (const place of part.querySelectorAll("[data-known]"))
      other.querySelector(`[data-figure="${CSS.escape(place.dataset.figure)}"]`)?.replaceWith(place);
    part.replaceWith(other);
    other.dataset.text = text;
  }
}

function keepOpen(part, other) {
  const there = [...other.querySelectorAll("summary")];
  for (const open of part.querySelectorAll("details[open] > summary")) {
    const section = open.closest("section")?.querySelector("h2")?.textContent;
    const same = there.find((each) => each.textContent === open.textContent
      && each.closest("section")?.querySelector("h2")?.textContent === section);
    if (same) same.parentElement.open = true;
  }
}

// Plotly takes a second to start: the page is there to be read before.
let plotly = null;
function loadPlotly(address) {
  plotly ??= new Promise((resolve, reject) => {
    const script = document.createElement("script");
    Object.assign(script, { src: address, onload: resolve, onerror: reject });
    document.head.append(script);
  });
  return plotly;
}

async function drawFigures() {
  const { figures: address, plotly: script } = document.getElementById("found")?.dataset ?? {};
  if (!address) return;
  const answer = await fetch(address);
  const tag = answer.headers.get("etag");
  const unknown = document.querySelector("[data-figure]:not([data-known])");
  if (!answer.ok || (tag === drawn && !unknown)) return;
  await loadPlotly(script);
  draw(await answer.json());
  drawn = tag;
}

function listen() {
  const search = document.querySelector("[data-search]")?.dataset.search;
  source = new EventSource(search ? `/events?search=${encodeURIComponent(search)}` : "/events");
  source.onopen = () => { tell("live", true); look(); }; // at what changed meanwhile
  source.onerror = () => tell("no connection", false);
  source.addEventListener("search", look);
  source.addEventListener("end", end);
}

function look() {
  waiting ??= setTimeout(refresh, pause);
}

function end() {
  source?.close();
  source = null;
  tell("this page is no longer live: reload it", false);
}

function tell(text, isOn) {
  if (!live) return;
  if (live.textContent !== text) live.textContent = text;
  live.classList.toggle("on", isOn);
}

// A page in the background listens to nothing: browsers open few connections to one host.
document.addEventListener("visibilitychange", () => {
  source?.close();
  source = null;
  if (!document.hidden) listen();
});
addEventListener("load", () => { drawFigures(); if (!document.hidden) listen(); });
