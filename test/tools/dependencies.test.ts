// What the package says it needs is what it imports.

import { readdirSync, readFileSync } from 'node:fs'
import { builtinModules } from 'node:module'
import { join, resolve } from 'node:path'
import { expect, test } from 'vitest'

const ROOT = resolve(import.meta.dirname, '../..')
const SOURCES = ['runtime', 'cluster', 'lua-stdlib']
const IMPORT =
  /(?:^import |^(?:import|export|\}).* from |\bimport\(|\brequire\(|(?:require|meta)\.resolve\()'((?:@[a-z\d-]+\/)?[a-z\d][a-z\d.-]*(?:\/[^']*)?)'/gm

/** Names of packages, as `@scope/name` or `name`, with the files that import them. */
function imported(): Map<string, string> {
  const found = new Map<string, string>()
  for (const folder of SOURCES) {
    for (const name of readdirSync(join(ROOT, folder), { recursive: true, encoding: 'utf8' })) {
      if (!name.endsWith('.ts')) continue
      const file = join(folder, name)
      const code = readFileSync(join(ROOT, file), 'utf8').replace(/^\s*(?:\/\/|\*|\/\*).*$/gm, '')
      for (const [, specifier = ''] of code.matchAll(IMPORT)) {
        if (specifier.startsWith('node:') || builtinModules.includes(specifier)) continue
        found.set(
          specifier
            .split('/')
            .slice(0, specifier.startsWith('@') ? 2 : 1)
            .join('/'),
          file,
        )
      }
    }
  }
  return found
}

test('every package that is imported is declared, and every declared one is imported and explained', () => {
  const { dependencies } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as {
    dependencies: Record<string, string>
  }
  const used = imported()
  const undeclared = [...used].filter(([name]) => dependencies[name] === undefined)
  expect(undeclared).toEqual([])
  expect(Object.keys(dependencies).filter((name) => !used.has(name))).toEqual([])
  const page = readFileSync(join(ROOT, 'docs/internals/dependencies.md'), 'utf8')
  expect(Object.keys(dependencies).filter((name) => !page.includes(name))).toEqual([])
})
