// Every app of this repository is one that `runtime check` has nothing to say against.

import { existsSync, readdirSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { Cli } from '../tools/cli.ts'

const root = resolve(import.meta.dirname, '../..')
const apps = ['examples', 'test/conformance/lua/apps'].flatMap((dir) =>
  readdirSync(join(root, dir))
    .map((name) => join(dir, name, 'app.yaml'))
    .filter((path) => existsSync(join(root, path))),
)

describe('runtime check', () => {
  let cli: Cli
  beforeAll(() => {
    cli = new Cli()
  })
  afterAll(() => cli.close())

  test.each(apps)('%s', async (path) => {
    const { code, stdout, stderr } = await cli.run(['check', join(root, path), '--json'], {
      env: { CONFORMANCE_DIR: cli.dir },
    })
    expect(stderr).toBe('')
    expect(JSON.parse(stdout)).toMatchObject({ ok: true, problems: [] })
    expect(code).toBe(0)
  })
})
