"use strict";
// A cursor over every chart: the legend shows the values under it.
for (const chart of document.querySelectorAll(".chart")) {
  const svg = chart.querySelector("svg"), cursor = svg.querySelector(".cursor");
  if (!cursor) continue; // a picture without curves
  const lines = [...svg.querySelectorAll(".line")].map(line => ({
    xs: line.getAttribute("points").split(" ").map(p => +p.split(",")[0]),
    ys: line.dataset.y.split(" "), named: line.dataset.name !== "" })).filter(line => line.named);
  const values = [...chart.querySelectorAll(".legend b")], last = values.map(value => value.textContent);
  svg.addEventListener("pointermove", event => {
    const box = svg.getBoundingClientRect(), x = (event.clientX - box.left) * svg.viewBox.baseVal.width / box.width;
    cursor.setAttribute("x1", x); cursor.setAttribute("x2", x);
    lines.forEach((line, i) => {
      let nearest = 0;
      line.xs.forEach((at, k) => { if (Math.abs(at - x) < Math.abs(line.xs[nearest] - x)) nearest = k; });
      values[i].textContent = line.ys[nearest];
    });
  });
  svg.addEventListener("pointerleave", () => {
    cursor.setAttribute("x1", -9); cursor.setAttribute("x2", -9);
    values.forEach((value, i) => { value.textContent = last[i]; });
  });
}
// The slider of the load heatmap: one frame per logged step.
for (const heat of document.querySelectorAll(".heat[data-frames]")) {
  const frames = JSON.parse(heat.dataset.frames), cells = [...heat.querySelectorAll(".cell")], dead = [...heat.querySelectorAll(".dead")];
  const slider = heat.parentElement.querySelector("input"), label = heat.parentElement.querySelector("output");
  const show = () => {
    const frame = frames[slider.value];
    label.textContent = "step " + frame.step;
    frame.load.flat().forEach((load, i) => {
      cells[i].style.opacity = Math.min(1, .05 + load / 2.6);
      cells[i].querySelector("title").textContent = cells[i].querySelector("title").textContent.replace(/:.*/, ": " + load + " x the mean");
      dead[i].style.display = load === 0 ? "" : "none";
    });
  };
  slider.addEventListener("input", show); show();
}
