// What an app ships: each entry point, minified and gzipped, with all that it pulls in but the peer dependencies. Fails if the core
// is too large.
import { gzipSync } from 'node:zlib'
import { build } from 'esbuild'

const LIMITS = { index: 2048 }

let failed = false
for (const name of ['index', 'fetch', 'rtk', 'axios', 'ticket', 'body']) {
  const { outputFiles } = await build({
    entryPoints: [`dist/${name}.js`],
    bundle: true,
    minify: true,
    format: 'esm',
    target: 'es2022',
    packages: 'external',
    write: false,
  })
  const { contents } = outputFiles[0]
  const gzipped = gzipSync(contents, { level: 9 }).length
  const limit = LIMITS[name]
  console.log(
    `${name.padEnd(6)} ${String(contents.length).padStart(5)} B minified ${String(gzipped).padStart(5)} B gzipped${limit ? ` (limit ${limit})` : ''}`,
  )
  failed ||= gzipped >= limit
}
if (failed) {
  console.error('The core is larger than its limit.')
  process.exit(1)
}
