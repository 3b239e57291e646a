// node describe.mjs ROOT: the suite's tests as JSON, with what scoring needs to know of each.
import path from 'node:path'

const tests = (await import(path.resolve(process.argv[2], 'tests/index.mjs'))).default
console.log(JSON.stringify(tests.flatMap(suite => suite.tests.map(test => ({
  id: test.id,
  kind: test.kind ?? 'required',
  browser: test.browser_only === true,
  needs: test.depends_on ?? []
})))))
