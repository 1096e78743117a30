// Returns what is wrong with the page: texts and controls with too little contrast, and a page that is wider than the
// window. The thresholds are those of WCAG 2.2, level AA.
(() => {
  const rgba = (text) => {
    const n = text.match(/[\d.]+/g).map(Number);
    return { r: n[0], g: n[1], b: n[2], a: n.length > 3 ? n[3] : 1 };
  };
  const over = (top, bottom) => ({
    r: top.r * top.a + bottom.r * (1 - top.a), g: top.g * top.a + bottom.g * (1 - top.a),
    b: top.b * top.a + bottom.b * (1 - top.a), a: 1,
  });
  const luminance = (c) => {
    const [r, g, b] = [c.r, c.g, c.b].map((v) => {
      v /= 255;
      return v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ratio = (a, b) => {
    const [x, y] = [luminance(a), luminance(b)].sort((p, q) => q - p);
    return (x + 0.05) / (y + 0.05);
  };
  const background = (e) => {
    const layers = [];
    for (; e; e = e.parentElement) {
      const c = rgba(getComputedStyle(e).backgroundColor);
      if (c.a > 0) layers.push(c);
      if (c.a === 1) break;
    }
    return layers.reverse().reduce((bottom, top) => over(top, bottom), { r: 255, g: 255, b: 255, a: 1 });
  };
  const visible = (e) => {
    const box = e.getBoundingClientRect(), style = getComputedStyle(e);
    return box.width > 1 && box.height > 1 && style.visibility === "visible" && box.right > 0;
  };
  const found = [];
  const need = (what, have, want) => {
    if (have < want) found.push(`${what}: contrast ${have.toFixed(2)}, must be ${want}`);
  };
  for (const e of document.querySelectorAll("body, body *")) {
    if (!visible(e) || e.closest("noscript, option")) continue;
    const style = getComputedStyle(e), what = `${e.tagName.toLowerCase()}.${e.className.baseVal ?? e.className}`;
    const text = [...e.childNodes].filter((n) => n.nodeType === Node.TEXT_NODE && n.data.trim());
    const size = parseFloat(style.fontSize);
    const large = size >= 24 || size >= 18.66 && style.fontWeight >= 700;
    if (text.length || e.matches("select, textarea, input:not([type=checkbox], [type=radio])")) {
      need(`${what} "${(text[0]?.data ?? "").trim().slice(0, 30)}"`,
        ratio(over(rgba(style.color), background(e)), background(e)), large ? 3 : 4.5);
    }
    if (e.placeholder) {
      need(`${what} placeholder`, ratio(rgba(getComputedStyle(e, "::placeholder").color), background(e)), 4.5);
    }
    if (e.matches("input:not([type=checkbox], [type=radio]), select, textarea")) {
      need(`${what} border`, ratio(rgba(style.borderTopColor), background(e.parentElement)), 3);
    }
    if (e.matches("figure .line")) need(`${what} line`, ratio(rgba(style.stroke), background(e.parentElement.parentElement)), 3);
    if (e.matches(".bar .value")) need(`${what} bar`, ratio(rgba(style.fill), background(e.closest("td"))), 3);
  }
  const wide = document.documentElement.scrollWidth - document.documentElement.clientWidth;
  if (wide > 0) {
    const widest = [...document.querySelectorAll("main *")].filter((e) => !e.parentElement.closest(".scroll") &&
      e.getBoundingClientRect().right > document.documentElement.clientWidth).pop();
    found.push(`the page is ${wide} pixels wider than its window of ${innerWidth}: ${widest?.outerHTML.slice(0, 200)}`);
  }
  for (const e of document.querySelectorAll("a, button, input, select, textarea, summary")) {
    const box = e.getBoundingClientRect();
    if (visible(e) && e.matches("button, input, select") && Math.min(box.width, box.height) < 20) {
      found.push(`${e.tagName} "${e.textContent.trim()}" is ${box.width} x ${box.height}: too small`);
    }
  }
  return found;
})()
