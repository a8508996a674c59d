// Prints what memlab reads out of a V8 heap snapshot: its totals, its objects of one class, and the retained size of
// the one object that holds them all. node tests/formats/memlab.js FILE CLASS
"use strict";
const { analysis, utils } = require("@memlab/core");

async function main(file, name) {
  console.log = () => {};  // memlab's progress
  const snapshot = await utils.getSnapshotFromFile(file, { buildNodeIdIndex: true });
  analysis.preparePathFinder(snapshot);  // computes the dominators
  const found = { nodes: 0, edges: 0, size: 0, instances: 0, root: 0, holders: [] };
  const holders = new Set();
  snapshot.nodes.forEach((node) => {
    found.nodes += 1;
    found.size += node.self_size;
    if (node.name !== name) return;
    found.instances += 1;
    node.referrers.filter((edge) => edge.type === "element").forEach((edge) => holders.add(edge.fromNode.id));
  });
  snapshot.edges.forEach(() => { found.edges += 1; });
  found.root = snapshot.nodes.get(0).retainedSize;
  for (const id of holders) {
    const node = snapshot.getNodeById(id);
    found.holders.push({ name: node.name, retained: node.retainedSize });
  }
  process.stdout.write("\nFOUND" + JSON.stringify(found) + "\n");
}

main(process.argv[2], process.argv[3]);
