import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { Cli } from '../../test/tools/cli.ts'

const app = join(import.meta.dirname, 'app.yaml')
let cli: Cli

beforeEach(() => {
  cli = new Cli()
})

afterEach(() => cli.close())

test('every item arrives, and the fast stage waits for the slow one', async () => {
  const { code, stdout } = await cli.run(['run', app, '--set', `node.data_dir=${cli.dir}`, '--exec', 'pipeline:main'])
  expect(stdout.trimEnd().split('\n')).toEqual([
    'sum of the squares of 1..100 = 338350',
    'unfinished items: at most 4',
    'the first stage had to wait: true',
  ])
  expect(code).toBe(0)
})
