// operations.md §1: settings compose from the built-in defaults to --set; variables are replaced in strings.

import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { app, problems } from './app-dir.ts'

const HEAD = 'version: "1.0"\nnamespace: shop\n'

describe('settings', () => {
  test('app file < --config files in order < environment < --set', async () => {
    const files = {
      'app.yaml': `${HEAD}node: { name: file }\nlogger: { level: warn, format: json }\nshutdown: { timeout: 1s }\n`,
      'one.yaml': 'node: { name: one }\nlogger: { level: error }\nshutdown: { timeout: 2s }\n',
      'two.yaml': 'node: { name: two }\n',
    }
    const configFiles = ['one.yaml', 'two.yaml']
    const { settings } = await app(files, { configFiles })
    expect(settings).toMatchObject({ node: { name: 'two' }, logger: { level: 'error', format: 'json' } })
    expect(settings.shutdown.timeoutMs).toBe(2000)
    const env = { RUNTIME_NODE__NAME: 'env', RUNTIME_LOGGER__LEVEL: 'debug' }
    expect((await app(files, { configFiles, env })).settings).toMatchObject({
      node: { name: 'env' },
      logger: { level: 'debug' },
    })
    const set = ['node.name=set', 'shutdown.timeout=3s']
    expect((await app(files, { configFiles, env, set })).settings).toMatchObject({
      node: { name: 'set' },
      shutdown: { timeoutMs: 3000 },
    })
  })

  test('an address that was asked for is not the default', async () => {
    const { settings } = await app(`${HEAD}admin: { http: "127.0.0.1:7960" }\n`)
    expect(settings.admin).toEqual({ http: '127.0.0.1:7960', httpIsDefault: false })
  })

  test('node.data_dir is relative to the app file', async () => {
    const { settings, root } = await app(`${HEAD}node: { data_dir: state }\n`)
    expect(settings.node.dataDir).toBe(join(root, 'state'))
  })

  test('a problem names the flag, the variable or the file that brought the value', async () => {
    expect(await problems(HEAD, { set: ['node.nmae=x'] })).toEqual([
      '--set node.nmae=x node.nmae: unknown key "nmae" (did you mean "name"?)',
    ])
    expect(await problems(HEAD, { set: ['nonsense'] })).toEqual([
      '--set nonsense expected path=value, e.g. node.name=n1',
    ])
    expect((await problems(HEAD, { set: ['nodes.name=x'] }))[0]).toMatch(
      /unknown key "nodes" \(did you mean "node"\?\)/,
    )
    expect((await problems(HEAD, { env: { RUNTIME_LOGGER__LEVEL: 'x' } }))[0]).toMatch(
      /^RUNTIME_LOGGER__LEVEL logger\.level: /,
    )
    expect((await problems(HEAD, { configFiles: ['nope.yaml'] }))[0]).toMatch(
      /^nope\.yaml:1:1 no such file \(--config\)$/,
    )
    const config = { 'app.yaml': HEAD, 'c.yaml': 'logger:\n  level: x\n' }
    expect((await problems(config, { configFiles: ['c.yaml'] }))[0]).toMatch(/^c\.yaml:2:10 logger\.level: /)
  })

  test('variables of other programs are left alone', async () => {
    expect(await problems(HEAD, { env: { RUNTIME_DIRECTORY: '/run/x', RUNTIME_OTHER__THING: '1' } })).toEqual([])
  })

  test('true, false, numbers and lists are recognised, everything else is a string', async () => {
    expect((await problems(HEAD, { set: ['node.name=true'] }))[0]).toContain('got true')
    expect((await problems(HEAD, { set: ['node.name=12'] }))[0]).toContain('got 12')
    expect((await problems(HEAD, { set: ['node.name=[a,b]'] }))[0]).toContain('got a list')
    expect(await problems(HEAD, { set: ['node.name=a1'] })).toEqual([])
  })
})

describe('${env:NAME}', () => {
  const yaml = (name: string): string => `${HEAD}node: { name: "${name}" }\n`

  test('is replaced in any string, with its default where it is not set', async () => {
    const { settings } = await app(yaml('a-${env:PART}-${env:OTHER:-z}'), { env: { PART: 'b' } })
    expect(settings.node.name).toBe('a-b-z')
  })

  test('missing without a default is an error with place and remedy', async () => {
    expect(await problems(yaml('${env:NOPE}'))).toContain(
      'app.yaml:3:15 node.name: environment variable NOPE is not set; set it or give a default: ${env:NOPE:-value}',
    )
  })

  test('is never replaced in Lua text', async () => {
    const source = 'return function() return "${env:NOPE}" end'
    const { entries } = await app(`${HEAD}entries:\n  - name: p\n    kind: process.lua\n    source: '${source}'\n`)
    expect(entries[0]).toMatchObject({ source })
  })
})
