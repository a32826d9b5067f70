# A tool.
npm install --registry https://registry.npmjs.example
