/** Draws curves on a canvas, which takes tens of thousands of points where SVG takes hundreds. */

const GHOST = 0.28; // opacity
const MANY = 8; // curves from which on lines are of one px, which are drawn three times as fast

/** The canvas, of `width` by `height` px, gets `curves` in `colors`, one for each. */
export function paint(canvas, { width, height, x, y, curves, colors }) {
  const ratio = globalThis.devicePixelRatio || 1;
  const [wide, tall] = [Math.round(width * ratio), Math.round(height * ratio)];
  if (canvas.width !== wide || canvas.height !== tall)
    Object.assign(canvas, { width: wide, height: tall });
  const pen = canvas.getContext("2d");
  pen.setTransform(ratio, 0, 0, ratio, 0, 0);
  pen.clearRect(0, 0, width, height);
  pen.lineCap = "round";
  const thin = curves.length > MANY ? 1 : 1.4;
  curves.forEach((curve, index) => {
    pen.strokeStyle = pen.fillStyle = colors[index];
    pen.globalAlpha = curve.ghost ? GHOST : 1;
    pen.lineJoin = curve.strong ? "round" : "bevel"; // which is drawn faster
    pen.lineWidth = curve.strong ? 2.2 : curve.ghost ? 1 : thin;
    line(pen, curve, x, y);
    if (curve.dots) dots(pen, curve, x, y);
    if (curve.stopped) cross(pen, x.at(curve.x.at(-1)), 9);
  });
}

/** One path. Of the points above one pixel, four do: the first, the extremes and the last. */
function line(pen, curve, x, y) {
  const { x: across, y: values } = curve;
  pen.beginPath();
  let column = NaN; // in px, of the points that are gathered
  let first, low, high, last;
  let down = false;
  const flush = () => {
    if (Number.isNaN(column)) return;
    if (down) pen.lineTo(column, first);
    else {
      pen.moveTo(column, first);
      pen.lineTo(column, first); // a lone point shows as a dot
    }
    if (low < first) pen.lineTo(column, low);
    if (high > low) pen.lineTo(column, high);
    if (last !== high) pen.lineTo(column, last);
    down = true;
    column = NaN;
  };
  for (let index = 0; index < values.length; index++) {
    if (!shows(values[index], y)) {
      flush();
      down = false;
      continue;
    }
    // a canvas draws nothing where coordinates are huge
    const up = Math.max(-1e4, Math.min(1e4, y.at(values[index])));
    const along = Math.round(2 * x.at(across[index])) / 2;
    if (along !== column) {
      flush();
      column = along;
      first = low = high = up;
    }
    if (up < low) low = up;
    if (up > high) high = up;
    last = up;
  }
  flush();
  pen.stroke();
}

function dots(pen, curve, x, y) {
  for (let index = 0; index < curve.y.length; index++) {
    if (!shows(curve.y[index], y)) continue;
    pen.beginPath();
    pen.arc(x.at(curve.x[index]), y.at(curve.y[index]), 2.8, 0, 2 * Math.PI);
    pen.fill();
  }
}

function cross(pen, x, y) {
  pen.lineWidth = 2.2;
  pen.beginPath();
  for (const way of [1, -1]) {
    pen.moveTo(x - 5, y - 5 * way);
    pen.lineTo(x + 5, y + 5 * way);
  }
  pen.stroke();
}

/** Whether a value has a place on an axis. */
export const shows = (value, axis) => value !== null && !(axis.log && value <= 0);

/** A line without axes, for a cell of a table. */
export function spark(canvas, y, limits, color) {
  const [width, height] = [canvas.clientWidth, canvas.clientHeight];
  if (!width || y.length < 2) return;
  const place = (low, high, from, to) => ({
    at: (value) => from + ((value - low) / (high - low || 1)) * (to - from),
  });
  const x = place(0, y.length - 1, 1, width - 1);
  const curves = [{ x: y.map((_, index) => index), y }];
  paint(canvas, { width, height, x, y: place(...limits, height - 2, 2), curves, colors: [color] });
}
