"use strict";
(() => {
  const root = document.documentElement;
  const figures = JSON.parse(document.getElementById("figures").textContent);
  const plots = [...document.querySelectorAll(".plot")];
  const drawn = new Set();
  const system = matchMedia("(prefers-color-scheme: dark)");

  function colour(name) {
    return getComputedStyle(root).getPropertyValue(name).trim();
  }

  // Figures take ink and lines from the page, so that they follow its scheme.
  function inPageColours(figure) {
    const ink = colour("--ink"), line = colour("--line");
    const layout = { // a copy: plotly writes into what it is given
      ...structuredClone(figure.layout), paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
      font: { color: ink, size: 13, family: "system-ui, sans-serif" },
      hoverlabel: { bgcolor: colour("--box"), bordercolor: line, font: { color: ink } },
    };
    for (const axis of ["xaxis", "yaxis"]) {
      layout[axis] = { ...layout[axis], gridcolor: line, linecolor: line };
    }
    const scale = [[0, colour("--heat-least")], [0.5, colour("--heat-half")], [1, colour("--heat-most")]];
    const kinds = {
      ink: (trace) => ({ ...trace, line: { ...trace.line, color: ink }, marker: { ...trace.marker, color: ink } }),
      heat: (trace) => ({ ...trace, colorscale: scale }),
    };
    return [figure.data.map((trace) => kinds[trace.meta]?.(trace) ?? trace), layout];
  }

  function draw(plot) {
    drawn.add(plot);
    const [data, layout] = inPageColours(figures[plot.dataset.figure]);
    Plotly.react(plot, data, layout, { responsive: true, displayModeBar: false });
    // A legend of several lines needs room of its own below the axes.
    const legend = plot.querySelector(".legend .bg");
    const height = legend ? Number(legend.getAttribute("height")) : 0;
    const above = layout.xaxis.title.text ? 58 : 34;
    const room = height + above + 8;
    const whole = layout.height - layout.margin.b + room;
    plot.style.height = `${whole}px`;
    Plotly.relayout(plot, {
      height: whole, "margin.b": room, "legend.y": -above / (whole - room - layout.margin.t),
    });
  }

  function drawAll() {
    plots.forEach(draw);
  }

  function redraw() {
    drawn.forEach(draw);
  }

  if (plots.length) {
    const watch = new IntersectionObserver((entries) => {
      for (const entry of entries) {
        if (entry.isIntersecting) {
          watch.unobserve(entry.target);
          draw(entry.target);
        }
      }
    }, { rootMargin: "800px" });
    plots.forEach((plot) => watch.observe(plot));
    addEventListener("beforeprint", drawAll);
    let width = innerWidth, waiting = 0;
    addEventListener("resize", () => {
      if (innerWidth === width) return;
      width = innerWidth;
      clearTimeout(waiting);
      waiting = setTimeout(redraw, 200);
    });
  }

  // The scheme: that of the system until the button is pressed.
  const button = document.getElementById("scheme");
  function isDark() {
    return root.dataset.scheme ? root.dataset.scheme === "dark" : system.matches;
  }
  function show() {
    button.textContent = isDark() ? "Light page" : "Dark page";
    redraw();
  }
  button.hidden = false;
  button.addEventListener("click", () => {
    root.dataset.scheme = isDark() ? "light" : "dark";
    show();
  });
  system.addEventListener("change", show);
  show();

  // Tables: a button in each title sorts; cells without a number stand last.
  function numberOf(text) {
    const found = text.replace(/,/g, "").match(/[-+]?\d+(\.\d+)?(e[-+]?\d+)?/i);
    if (!found) return null;
    return Number(found[0]) - (text.trim().startsWith("<") ? 1e-9 : 0);
  }
  function sort(head) {
    const table = head.closest("table"), body = table.tBodies[0];
    const number = head.classList.contains("number");
    const up = head.getAttribute("aria-sort") !== "ascending";
    for (const other of table.tHead.rows[0].cells) other.setAttribute("aria-sort", "none");
    head.setAttribute("aria-sort", up ? "ascending" : "descending");
    const rows = [...body.rows].map((row) => {
      const text = row.cells[head.cellIndex].textContent;
      return { row, text, value: number ? numberOf(text) : text };
    });
    rows.sort((a, b) => {
      if (a.value === null || b.value === null) return (a.value === null) - (b.value === null);
      const order = number ? a.value - b.value
        : a.text.localeCompare(b.text, "en", { numeric: true });
      return up ? order : -order;
    });
    body.append(...rows.map((each) => each.row));
  }
  for (const head of document.querySelectorAll(".sortable thead th")) {
    head.querySelector("button").addEventListener("click", () => sort(head));
  }
})();
