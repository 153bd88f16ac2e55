// The bar below the panels: play, step, drag, speed, loop.

const ICONS = {
  play: "M4 2.5v11l9.5-5.5z",
  pause: "M4 2.5h3v11H4zM9 2.5h3v11H9z",
  back: "M11.5 2.5v11L5 8zM3 2.5h1.8v11H3z",
  forward: "M4.5 2.5v11L11 8zM11.2 2.5H13v11h-1.8z",
  loop: "M4.2 4.2A5.4 5.4 0 0 1 12.6 5l1.5-1.5V8H9.6l1.9-1.9a3.8 3.8 0 0 0-5.9-.5zM11.8 11.8A5.4 5.4 0 0 1 3.4 11l-1.5 1.5V8h4.5L4.5 9.9a3.8 3.8 0 0 0 5.9.5z",
};
const SPEEDS = [0.1, 0.25, 0.5, 1, 2, 4];

export class Controls {
  constructor(player) {
    this.player = player;
    this.root = document.createElement("div");
    this.root.className = "dp-bar";
    this.root.setAttribute("role", "group");
    this.root.setAttribute("aria-label", "Playback");
    this.play = this.button("play", "Play (space)", () => (player.playing ? player.pause() : player.play()));
    this.play.classList.add("dp-play");
    this.button("back", "One step back (left arrow)", () => player.nudge(-1));
    this.button("forward", "One step forward (right arrow)", () => player.nudge(1));
    this.slider = document.createElement("input");
    this.slider.type = "range";
    this.slider.min = 0;
    this.slider.step = 1;
    this.slider.setAttribute("aria-label", "Frame");
    this.slider.addEventListener("input", () => player.seek(this.slider.valueAsNumber));
    this.slider.addEventListener("pointerdown", () => player.playing && player.pause());
    this.root.append(this.slider);
    this.speed = document.createElement("select");
    this.speed.setAttribute("aria-label", "Speed");
    for (const speed of SPEEDS) {
      this.speed.append(new Option(`${speed}×`, speed, speed === 1, speed === 1));
    }
    this.speed.addEventListener("change", () => {
      player.speed = Number(this.speed.value);
      player.rebase(player.frame);
    });
    this.root.append(this.speed);
    this.loop = this.button("loop", "Loop", () => {
      player.loop = !player.loop;
      this.loop.setAttribute("aria-pressed", player.loop);
    });
    this.loop.setAttribute("aria-pressed", "false");
  }

  button(icon, name, action) {
    const button = document.createElement("button");
    button.type = "button";
    button.append(drawn(icon));
    this.name(button, name);
    button.addEventListener("click", action);
    this.root.append(button);
    return button;
  }

  name(button, name) {
    button.title = name;
    button.setAttribute("aria-label", name);
  }

  show() {
    const { player } = this;
    this.slider.max = player.film.last;
    this.slider.value = player.frame;
    this.slider.setAttribute("aria-valuetext", player.said ?? "");
    if (this.shown !== player.playing) {
      this.shown = player.playing;
      this.play.replaceChildren(drawn(player.playing ? "pause" : "play"));
      this.name(this.play, player.playing ? "Pause (space)" : "Play (space)");
    }
  }
}

function drawn(icon) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", "0 0 16 16");
  svg.setAttribute("aria-hidden", "true");
  const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
  path.setAttribute("d", ICONS[icon]);
  svg.append(path);
  return svg;
}
