// A fresh Edit node keeps its seed: nano needs none, and a new one after each run would only run the node again.
// The widget itself stays, for saved workflows hold its value.
import { app } from "../../scripts/app.js";

app.registerExtension({
  name: "mien.keepSeed",
  nodeCreated(node) {
    if (node.comfyClass !== "MienEdit" && node.comfyClass !== "MienAnimateKeyframes") return;
    const control = node.widgets?.find((widget) => widget.name === "control_after_generate");
    if (control) control.value = "fixed"; // a saved workflow puts its own value there afterwards
  },
});
