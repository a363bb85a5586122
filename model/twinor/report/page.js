// SPDX-License-Identifier: Apache-2.0
// Draws every chart in the colours of the scheme, and again when the scheme or the medium changes.
"use strict";
(() => {
  const palettes = JSON.parse(document.getElementById("palettes").textContent);
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const still = { displayModeBar: false, responsive: true };
  const charts = [...document.querySelectorAll("script.spec")].map((script) => ({
    at: document.getElementById(script.dataset.chart),
    text: script.textContent,
  }));

  // A chart names its colours by the light palette.
  const coloured = (text, scheme) => Object.entries(palettes.light).reduce(
    (changed, [name, colour]) => changed.replaceAll(`"${colour}"`, `"${palettes[scheme][name]}"`), text);

  const draw = (scheme, width) => charts.forEach(({ at, text }) => {
    const { data, layout } = JSON.parse(coloured(text, scheme));
    layout.font.family = getComputedStyle(document.body).fontFamily;
    layout.dragmode = false; // a finger on a chart scrolls the page
    if (width) layout.width = width;
    if (layout.yaxis.scaleanchor) { // square cells need no more height than width
      layout.height = Math.min(layout.height, (width || at.clientWidth) + 30);
      at.style.height = `${layout.height}px`;
    }
    Plotly.react(at, data, layout, still);
  });
  const screen = () => draw(dark.matches ? "dark" : "light");

  screen();
  dark.addEventListener("change", screen);
  addEventListener("beforeprint", () => draw("light", 640));
  addEventListener("afterprint", screen);
})();
