// The look: the page's style table as numbers and colours, and the player's own style sheet.

const FALLBACK = {
  background: "#ffffff", text: "#1f2933", muted: "#5b6670", axis: "#9aa5b1", grid: "#e8ebee",
  start: "#8c97a3", data: "#0072b2", model: "#d55e00", validation: "#009e73", contour: "#4d7ba6",
};

// Read again whenever the colour scheme changes.
export function readLook(element) {
  const style = getComputedStyle(element);
  const read = (name) => style.getPropertyValue(`--${name}`).trim();
  const list = (name, otherwise) => {
    const found = [];
    for (let i = 1; read(`${name}-${i}`); i++) found.push(read(`${name}-${i}`));
    return found.length ? found : otherwise;
  };
  const look = Object.fromEntries(Object.keys(FALLBACK).map((name) => [name, read(name) || FALLBACK[name]]));
  look.classes = list("class", ["#0072b2", "#e69f00", "#cc79a7", "#009e73", "#56b4e9", "#6b7680"]);
  look.surface = list("surface", ["#f7fafc", "#d9e7f1", "#b3cee3", "#86aecf", "#5a8cb8"]);
  for (const [name, size] of Object.entries({ point: 4.5, line: 2.2, thin: 1.2 })) {
    look[name] = parseFloat(read(`size-${name}`)) || size;
  }
  look.colour = (i) => look.classes[i % look.classes.length];
  return look;
}

export const SHEET = `
.dp{container-type:inline-size;box-sizing:border-box;max-width:1640px;margin:0 auto;padding:14px 16px 6px;
font:13px/1.45 var(--player-font,Inter,"Source Sans 3","Helvetica Neue",Arial,"DejaVu Sans",sans-serif);
color:var(--text,#1f2933);background:var(--background,#fff);font-variant-numeric:tabular-nums;outline:none}
.dp *{box-sizing:border-box}
.dp-head{display:flex;flex-wrap:wrap;align-items:baseline;gap:2px 22px;margin:0 0 10px}
.dp-title{font-size:16px;font-weight:600;margin:0;overflow-wrap:anywhere}
.dp-read{display:flex;flex-wrap:wrap;gap:2px 18px;margin:0;min-height:1.45em}
.dp-read div{display:flex;gap:6px;white-space:nowrap}
.dp-read dt{color:var(--muted,#5b6670);max-width:22ch;overflow:hidden;text-overflow:ellipsis}
.dp-read dd{margin:0;min-width:6ch;font-weight:600}
.dp-grid{display:grid;grid-template-columns:minmax(0,1fr);gap:18px 26px}
.dp-panel{margin:0;min-width:0;display:flex;flex-direction:column}
.dp-cap{display:flex;flex-wrap:wrap;gap:0 14px;justify-content:space-between;align-items:baseline;margin:0 0 2px;min-height:1.45em}
.dp-cap b{font-weight:600}
.dp-cap span{color:var(--muted,#5b6670)}
.dp-keys{display:flex;flex-wrap:wrap;gap:0 12px}
.dp-keys i{font-style:normal;font-weight:600;max-width:16ch;overflow:hidden;text-overflow:ellipsis;white-space:nowrap}
.dp-plot{position:relative;height:280px;flex:1 0 auto}
.dp-plot canvas,.dp-plot svg{position:absolute;left:0;top:0;display:block;overflow:visible}
.dp-plot svg{pointer-events:none}
.dp-plot text{font-size:11px;fill:var(--muted,#5b6670)}
.dp-plot text.dp-end{font-weight:600;font-size:11.5px;paint-order:stroke;stroke:var(--background,#fff);stroke-width:3px;stroke-linejoin:round}
.dp-plot .domain,.dp-plot .tick line{stroke:var(--axis,#9aa5b1);stroke-width:.8px}
.dp-tip{position:absolute;z-index:2;pointer-events:none;padding:4px 8px;border-radius:4px;white-space:pre;max-width:100%;
background:var(--text,#1f2933);color:var(--background,#fff);font-size:11.5px;line-height:1.4;opacity:0;overflow:hidden;text-overflow:ellipsis}
.dp-bar{position:sticky;bottom:0;z-index:3;display:flex;flex-wrap:wrap;align-items:center;gap:6px 10px;margin:10px -4px 0;padding:8px 4px;
background:var(--background,#fff)}
.dp-bar button,.dp-bar select{font:inherit;color:inherit;background:none;border:1px solid transparent;border-radius:6px;height:32px;padding:0 6px;cursor:pointer}
.dp-bar select{border-color:var(--axis,#9aa5b1);background:var(--background,#fff)}
.dp-bar button{display:inline-flex;align-items:center;justify-content:center;width:32px}
.dp-bar button:hover,.dp-bar select:hover{background:var(--grid,#e8ebee)}
.dp-bar button[aria-pressed=true]{color:var(--data,#0072b2);border-color:currentColor}
.dp-bar svg{width:16px;height:16px;fill:currentColor;display:block}
.dp-bar .dp-play{background:var(--data,#0072b2);color:var(--background,#fff);border-radius:50%;width:36px;height:36px}
.dp-bar .dp-play:hover{filter:brightness(1.12);background:var(--data,#0072b2)}
.dp-bar input{flex:1 1 160px;min-width:110px;height:28px;margin:0;accent-color:var(--data,#0072b2);cursor:pointer}
.dp :focus-visible,.dp:focus-visible{outline:2px solid var(--model,#d55e00);outline-offset:2px}
.dp-notes{margin:2px 0 6px;padding:0;list-style:none;color:var(--muted,#5b6670);font-size:12px;overflow-wrap:anywhere}
.dp-notes .dp-bad{margin:4px 0;padding-left:10px;border-left:3px solid var(--model,#d55e00);color:var(--text,#1f2933);font-size:13px}
.dp-live{position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%);white-space:nowrap}
@container (max-width:479px){.dp-bar input{order:9;flex-basis:100%}.dp-bar select{margin-left:auto}}
@container (min-width:640px){
.dp-grid{grid-template-columns:repeat(2,minmax(0,1fr))}
.dp-grid.dp-odd>:last-child{grid-column:1/-1}
.dp-plot{height:270px}}
@container (min-width:1100px){
.dp-grid{grid-template-columns:1.25fr 1.05fr .95fr;grid-template-rows:1fr 1fr}
.dp-grid>*,.dp-grid.dp-odd>:last-child{grid-column:auto;grid-row:auto}
.dp-grid>.dp-model{grid-column:1;grid-row:1/3}
.dp-grid>.dp-model.dp-half{grid-row:1}
.dp-grid>.dp-second{grid-column:1;grid-row:2}
.dp-grid>.dp-surface{grid-column:2;grid-row:1/3}
.dp-grid.dp-flat{grid-template-columns:1.3fr 1fr}
.dp-grid.dp-flat>.dp-model,.dp-grid.dp-flat>.dp-surface{grid-column:1}
.dp-grid.dp-pair{grid-template-columns:1fr 1fr;grid-template-rows:1fr}
.dp-plot{height:225px}
.dp-pair .dp-plot{height:420px}}
@container (min-width:1400px){.dp-plot{height:262px}}
.dp-print{width:690px;padding:0;color:var(--text,#1f2933);background:var(--background,#fff)}
@media print{.dp-bar{display:none}.dp-panel{break-inside:avoid}}
`;
