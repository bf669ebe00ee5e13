// Pulumi runs a program in the folder of its main file, and the settings' paths are relative to the checkout.
module.exports = require("./dist/stacks/main.js");
