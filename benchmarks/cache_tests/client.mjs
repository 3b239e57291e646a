// node client.mjs ROOT BASE [ID...]: runs the suite, or these tests, through the cache at BASE; results as JSON.
import fs from 'node:fs'
import { createRequire } from 'node:module'
import path from 'node:path'

const [root, base, ...ids] = process.argv.slice(2)
const chunk = Math.max(50, ids.length)
const older = !fs.existsSync(path.resolve(root, 'test-engine'))
const load = name => import(path.resolve(root, older ? '' : 'test-engine', name))
const tests = (await import(path.resolve(root, 'tests/index.mjs'))).default
const { runTests, getResults } = await load('client/runner.mjs')
for (const suite of tests) {
  if (ids.length) suite.tests = suite.tests.filter(test => ids.includes(test.id))
}
// What the engine prints is not the result.
console.log = console.error
if (older) {
  // It was written for this one; the built-in fetch adds request directives of its own.
  await runTests(tests, createRequire(path.resolve(root, 'cli.mjs'))('node-fetch'), false, base, chunk)
} else {
  await runTests(tests, false, base, chunk)
}
process.stdout.write(JSON.stringify(getResults()))
