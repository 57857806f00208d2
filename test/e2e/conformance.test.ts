// The scripting surface, tested in Lua: every app below test/conformance/lua/apps runs through the real command, on every engine. Each of its
// tests (function.lua entries with meta.type "test") is one test here, and each of its programs (process.lua entries with meta.type
// "program"), which runs on a terminal: meta.args and meta.input go in, meta.stdout, meta.stderr and meta.code must come out.

import { mkdirSync, readdirSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { moduleNames } from '../../lua-stdlib/names.ts'
import { loadApp } from '../../runtime/app/load.ts'
import { compileProblem } from '../../runtime/lua/check.ts'
import { Cli } from '../tools/cli.ts'

/** `apps`: what runs on it, when that is not all. */
const ENGINES: { name: string; settings: string[]; apps?: string[] }[] = [
  { name: 'moonmesh', settings: ['lua.engine=moonmesh'] },
  { name: 'moonmesh, nothing translated', settings: ['lua.jit=false'], apps: ['annotations', 'language', 'lua53'] },
  { name: 'fengari', settings: ['lua.engine=fengari'] },
]
const APPS = resolve(import.meta.dirname, '../conformance/lua/apps')
/** Holds what the tests compare with; no app of its own. */
const LIBRARY = 'expect'

/**
 * What the apps may name: a folder to write to, and variables with and without text. The local zone is one with summer time, so that it is
 * never mistaken for UTC.
 */
const environment = (dir: string): Record<string, string> => ({
  TZ: 'America/New_York',
  CONFORMANCE_DIR: dir,
  CONFORMANCE_TEXT: 'some text',
  CONFORMANCE_EMPTY: '',
})

interface Program {
  id: string
  args: string[]
  input: string
  result: { stdout: string; stderr: string; code: number }
}

async function contentOf(path: string): Promise<{ ids: string[]; programs: Program[] }> {
  const loaded = await loadApp({ path, moduleNames, compile: compileProblem(), env: environment('/tmp') })
  if (!loaded.ok) throw new Error(`${path}: ${loaded.problems.map(({ message }) => message).join('; ')}`)
  const ids: string[] = []
  const programs: Program[] = []
  for (const { id, kind, meta } of loaded.app.entries) {
    if (kind === 'function.lua' && meta['type'] === 'test') ids.push(id)
    if (kind !== 'process.lua' || meta['type'] !== 'program') continue
    const { args = [], input = '', stdout = '', stderr = '', code = 0 } = meta as Record<string, never>
    programs.push({ id, args, input, result: { stdout, stderr, code } })
  }
  return { ids, programs }
}

const apps = await Promise.all(
  readdirSync(APPS)
    .filter((name) => name !== LIBRARY)
    .map(async (name) => ({
      name,
      path: join(APPS, name, 'app.yaml'),
      ...(await contentOf(join(APPS, name, 'app.yaml'))),
    })),
)

interface Report {
  tests: { id: string; ok: boolean; error: string | null }[]
}

describe.each(ENGINES)('on $name', ({ settings, apps: names }) => {
  const set = settings.flatMap((setting) => ['--set', setting])
  describe.each(apps.filter(({ name }) => names?.includes(name) ?? true))('$name', ({ path, ids, programs }) => {
    let cli: Cli
    let report: Report
    beforeAll(async () => {
      cli = new Cli()
      const dir = join(cli.dir, 'work')
      mkdirSync(dir)
      const args = ['test', path, '--json', ...set]
      const { stdout, stderr } = await cli.run(args, { env: environment(dir) })
      if (!stdout.startsWith('{')) throw new Error(`no report: ${stdout}${stderr}`)
      report = JSON.parse(stdout)
    })
    afterAll(() => cli.close())

    test.each(ids)('%s', (id) => {
      const result = report.tests.find((each) => each.id === id)
      expect(result?.error).toBe(null)
      expect(result?.ok).toBe(true)
    })

    test.each(programs.map((program) => [program.id, program] as const))('%s', async (id, { args, input, result }) => {
      const run = ['run', path, ...set, '--exec', id, ...args]
      const env = environment(join(cli.dir, 'work'))
      expect(await cli.run(run, { env, input })).toMatchObject(result)
    })
  })
})
