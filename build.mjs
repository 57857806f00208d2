// Builds the package: `dist` is what is published, declarations of each module and few files of code, as a node would read hundreds of modules
// one by one before it starts; packages stay outside. `.modules` has the same code file by file, for what looks into the product: benchmarks of
// its parts, and copies with a bug planted in them.

import { execFileSync } from 'node:child_process'
import { cpSync, rmSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { rolldown } from 'rolldown'

process.chdir(import.meta.dirname)
for (const dir of ['dist', '.modules']) rmSync(dir, { recursive: true, force: true })

const typescript = dirname(createRequire(import.meta.url).resolve('typescript/package.json'))
try {
  execFileSync(process.execPath, [join(typescript, 'bin/tsc'), '-p', 'tsconfig.build.json'], { stdio: 'inherit' })
} catch {
  process.exit(1)
}

const bundle = await rolldown({
  input: {
    'cli/main': 'runtime/cli/main.ts',
    index: 'runtime/index.ts',
    'process/worker': 'runtime/process/worker.ts',
  },
  platform: 'node',
  external: (id) => !/^[./]/.test(id),
})
// Chunks lie where runtime/places.ts expects to be.
await bundle.write({ dir: 'dist/runtime', format: 'esm', chunkFileNames: '[name]-[hash].js', sourcemap: true })
await bundle.close()

for (const dir of ['dist', '.modules']) {
  cpSync('runtime/admin/dashboard', `${dir}/runtime/admin/dashboard`, { recursive: true })
}
