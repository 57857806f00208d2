// The guards of biome.json hold: what a core, a library module and the rest may not touch is refused by `npm run check`.

import { spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'

const root = join(dirname(fileURLToPath(import.meta.url)), '../..')
const biome = join(root, 'node_modules/.bin/biome')
let place: string

beforeAll(() => {
  place = mkdtempSync(join(tmpdir(), 'moonmesh-guards-'))
  const config = JSON.parse(readFileSync(join(root, 'biome.json'), 'utf8'))
  config.vcs.enabled = false
  delete config.$schema
  writeFileSync(join(place, 'biome.json'), JSON.stringify(config))
})

afterAll(() => rmSync(place, { recursive: true, force: true }))

/** What the linter says about a file of this path and content. */
function lint(path: string, source: string): string {
  mkdirSync(dirname(join(place, path)), { recursive: true })
  writeFileSync(join(place, path), source)
  const { stdout, stderr } = spawnSync(biome, ['lint', '--colors=off', path], { cwd: place, encoding: 'utf8' })
  return stdout + stderr
}

describe('guards', () => {
  test.each([
    ['a Node module', "import { readFileSync } from 'node:fs'\nexport const x = readFileSync\n", 'noNodejsModules'],
    ['a package', "import pino from 'pino'\nexport const x = pino\n", 'noRestrictedImports'],
    ['a driver', "import { Host } from '../host.ts'\nexport const x = Host\n", 'noRestrictedImports'],
    ['the clock', 'export const x = Date.now()\n', 'noRestrictedGlobals'],
    ['chance', 'export const x = Math.random()\n', 'noJsRestrictedProperties'],
    ['a timer', 'export const x = setTimeout\n', 'noRestrictedGlobals'],
  ])('a core cannot use %s', (_what, source, rule) => {
    expect(lint('runtime/process/core/example.ts', source)).toContain(rule)
  })

  test('a core can use another core and base', () => {
    const source =
      "import { assert } from '../../base/assert.ts'\nimport { Links } from './links.ts'\nexport const x = [assert, Links]\n"
    expect(lint('runtime/process/core/example.ts', source)).not.toContain('lint/')
  })

  test('fengari is imported in runtime/lua/fengari* only', () => {
    const source = "import fengari from 'fengari'\nexport const x = fengari\n"
    for (const path of ['runtime/process/host.ts', 'runtime/lua/sandbox.ts', 'lua-stdlib/time.ts', 'test/x.test.ts']) {
      expect(lint(path, source), path).toContain('noRestrictedImports')
    }
    expect(lint('runtime/lua/fengari-load.ts', source)).not.toContain('noRestrictedImports')
  })

  test('the runtime is handed the cluster: node.ts and the commands alone import it', () => {
    const source = "import { clusterSettings } from '../../cluster/config.ts'\nexport const x = clusterSettings\n"
    for (const path of ['runtime/app/settings.ts', 'runtime/relay/relay.ts']) {
      expect(lint(path, source), path).toContain('noRestrictedImports')
    }
    expect(lint('runtime/cli/app.ts', source)).not.toContain('noRestrictedImports')
    expect(lint('runtime/node.ts', source.replace('../../', '../'))).not.toContain('noRestrictedImports')
  })

  test('the cluster sees base and services.ts only', () => {
    for (const from of ['runtime/app/load.ts', 'runtime/relay/relay.ts', 'lua-stdlib/time.ts']) {
      const source = `import { x } from '../../${from}'\nexport const y = x\n`
      expect(lint('cluster/mesh/mesh.ts', source), from).toContain('noRestrictedImports')
    }
    const allowed =
      "import { assert } from '../../runtime/base/assert.ts'\nimport type { Names } from '../../runtime/services.ts'\nexport const x: Names = assert\n"
    expect(lint('cluster/mesh/mesh.ts', allowed)).not.toContain('lint/')
  })

  test('modules that need each other are refused, unless only types are needed', () => {
    const cycle = (first: string, second: string): string => {
      lint('cluster/mesh/first.ts', first)
      return lint('cluster/mesh/second.ts', second)
    }
    const first = "import { b } from './second.ts'\nexport const a = (): unknown => b\n"
    expect(cycle(first, "import { a } from './first.ts'\nexport const b = (): unknown => a\n")).toContain(
      'noImportCycles',
    )
    const types = "import type { a } from './first.ts'\nexport const b = (x: typeof a): unknown => x\n"
    expect(cycle(first, types)).not.toContain('noImportCycles')
  })

  test('a library module sees neither the runtime behind the seam nor the cluster', () => {
    const source = "import { Host } from '../runtime/process/host.ts'\nexport const x = Host\n"
    expect(lint('lua-stdlib/example.ts', source)).toContain('noRestrictedImports')
    const allowed = "import { SUSPEND } from '../runtime/lua/engine.ts'\nexport const x = SUSPEND\n"
    expect(lint('lua-stdlib/example.ts', allowed)).not.toContain('lint/')
  })
})
