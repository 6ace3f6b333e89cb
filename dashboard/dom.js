/** Builds elements from data: text is always text, never markup. */

const SVG = "http://www.w3.org/2000/svg";

export const el = (tag, attributes, ...children) =>
  filled(document.createElement(tag), attributes, children);

export const svg = (tag, attributes, ...children) =>
  filled(document.createElementNS(SVG, tag), attributes, children);

/** Writes only what differs, so that nothing moves under a pointer, a selection or the focus. */
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

function filled(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}
