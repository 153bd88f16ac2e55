// Bundles the player into one file that ships with the package, and the licences of what is in it.
import { build } from "esbuild";
import { existsSync, readFileSync, writeFileSync } from "node:fs";

const out = "../src/descend/pictures/player.js";

const result = await build({
  entryPoints: ["src/index.js"],
  outfile: out,
  bundle: true,
  format: "iife",
  globalName: "descendPlayer",
  minify: true,
  target: "es2020",
  charset: "utf8",
  legalComments: "none",
  banner: { js: "/* The player of descend, MIT. Bundles d3 modules, ISC and BSD-3: see player.LICENSES. */" },
  metafile: true,
});

const names = new Set();
for (const path of Object.keys(result.metafile.inputs)) {
  const match = path.match(/node_modules\/((?:@[^/]+\/)?[^/]+)\//);
  if (match) names.add(match[1]);
}
const notices = [...names].sort().map((name) => {
  const folder = `node_modules/${name}`;
  const { version, license } = JSON.parse(readFileSync(`${folder}/package.json`, "utf8"));
  const file = ["LICENSE", "LICENSE.md", "LICENSE.txt"].map((f) => `${folder}/${f}`).find(existsSync);
  if (!file) throw new Error(`${name} has no licence file`);
  return `${name} ${version} (${license})\n\n${readFileSync(file, "utf8").trim()}\n`;
});
writeFileSync(
  "../src/descend/pictures/player.LICENSES",
  `The file player.js contains these packages.\n\n${notices.join("\n" + "-".repeat(78) + "\n\n")}`,
);

const script = readFileSync(out, "utf8");
if (/<\/script|<!--/i.test(script)) throw new Error("the bundle would end the <script> that it is inlined in");
console.log(`${out}: ${(script.length / 1024).toFixed(1)} kB with ${[...names].sort().join(", ")}`);
