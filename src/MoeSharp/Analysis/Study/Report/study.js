// Texts coloured by expert: a list chooses the layer, a number one expert, arrows and the pointer a token.
{
  const select = document.getElementById("token-layer"), only = document.getElementById("token-expert"), detail = document.getElementById("token-detail");
  const texts = [...document.querySelectorAll(".tokens")];
  const choices = (token, layer) => token.dataset.e.split(";")[layer].split(" ").map(slot => slot.split(":").map(Number));
  const hue = expert => Math.trunc(expert * 137.508 % 360);
  const paint = () => {
    const layer = +select.value, expert = only.value === "" ? -1 : +only.value;
    for (const token of document.querySelectorAll(".tokens i")) {
      const slots = choices(token, layer), best = slots.reduce((a, b) => b[1] > a[1] ? b : a);
      const isOff = expert >= 0 && !slots.some(slot => slot[0] === expert);
      token.classList.toggle("off", isOff || best[0] < 0);
      token.style.setProperty("--h", hue(expert >= 0 ? expert : Math.max(0, best[0])));
    }
  };
  const show = token => {
    for (const other of document.querySelectorAll(".tokens i.on")) other.classList.remove("on");
    token.classList.add("on");
    const layers = token.parentElement.dataset.layers.split(",");
    detail.textContent = "";
    const name = document.createElement("b");
    name.textContent = JSON.stringify(token.textContent);
    detail.append(name);
    layers.forEach((layer, i) => {
      const line = document.createElement("div");
      line.textContent = "layer " + layer + ": " + choices(token, i).map(slot => slot[0] < 0 ? "no expert" : "expert " + slot[0] + " (" + (slot[1] / 100).toFixed(3) + ")").join(", ");
      detail.append(line);
    });
  };
  for (const text of texts) {
    text.addEventListener("pointerover", event => { if (event.target.tagName === "I") show(event.target); });
    text.addEventListener("keydown", event => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (!step) return;
      event.preventDefault();
      const tokens = [...text.children], at = tokens.findIndex(token => token.classList.contains("on"));
      show(tokens[Math.min(tokens.length - 1, Math.max(0, at < 0 ? 0 : at + step))]);
    });
  }
  if (select) { select.addEventListener("change", paint); only.addEventListener("input", paint); }
}
