// What tests/web.rs has the page do: run every network that the server has, in every form, then classify and measure as a
// visitor would. The result goes to the server.

const bytes = async path => new Uint8Array(await (await fetch(path)).arrayBuffer());

async function outputs(page, name) {
  const network = new page.Network(await bytes(`test/network/${name}`)), images = await bytes(`test/images/${name}`);
  const forms = {};
  for (const form of ["dense", "two-stage", "fused", "auto"]) {
    const session = network.session(page.machine, form, 3);
    forms[form] = [...await session.run(images)];
    // Again: nothing of the first run may be left.
    const again = await session.run(images);
    if (again.some((x, i) => !Object.is(x, forms[form][i]))) throw new Error(`${name} ${form}: a second run gives other values`);
  }
  return forms;
}

export async function test(page) {
  const result = { fault: "" };
  try {
    if (!page.sessions()) throw new Error(page.fault());
    result.machine = page.machine.describe();
    result.outputs = {};
    for (const name of await (await fetch("test/networks")).json()) result.outputs[name] = await outputs(page, name);
    try { new page.Network(new TextEncoder().encode("not a network")); } catch (error) { result.refused = error.message; }

    // The first digit, dropped on the page as a picture.
    const digit = (await bytes("test/images/digits")).slice(0, 28 * 28), picture = new ImageData(28, 28);
    digit.forEach((value, i) => picture.data.set([value, value, value, 255], 4 * i));
    page.fromPicture(await createImageBitmap(picture));
    result.seen = [...page.pixels()];
    result.shown = [...await page.sessions()[1].one.run(page.pixels())];
    await page.classify();
    result.dropped = document.querySelector(".class.first span").textContent;

    // A seven, drawn by a pen.
    document.getElementById("clear").click();
    const canvas = document.getElementById("draw"), { left, top } = canvas.getBoundingClientRect();
    const touch = (kind, x, y) => canvas.dispatchEvent(new PointerEvent(kind, { clientX: left + x, clientY: top + y }));
    touch("pointerdown", 80, 60);
    for (let i = 1; i <= 12; i++) touch("pointermove", 80 + 10 * i, 60);
    for (let i = 1; i <= 16; i++) touch("pointermove", 200 - 5 * i, 60 + 10 * i);
    touch("pointerup", 120, 220);
    await page.classify();
    result.drawn = document.querySelector(".class.first span").textContent;

    await page.measure();
    page.showTimes();
    result.times = page.sessions().map(s => [s.oneMs, s.manyMs]);
    result.fault = page.fault();
  } catch (error) {
    result.fault = error.message ?? String(error);
  }
  await fetch("test/result", { method: "POST", body: JSON.stringify(result) });
}
