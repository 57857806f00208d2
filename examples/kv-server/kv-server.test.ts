import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { Cli } from '../../test/tools/cli.ts'

const app = join(import.meta.dirname, 'app.yaml')
let cli: Cli

beforeEach(() => {
  cli = new Cli()
})

afterEach(() => cli.close())

test('answers everybody, says no, and does not let anybody wait for ever', async () => {
  const { code, stdout } = await cli.run(['run', app, '--set', `node.data_dir=${cli.dir}`, '--exec', 'kv:demo'])
  expect(stdout.trimEnd().split('\n')).toEqual([
    'put color=red: nil',
    'get color: red',
    'put color=blue, before: red',
    'delete color, before: blue',
    'get color: NotFound, no such key: color',
    'right answers to 10 concurrent clients: 10',
    'slow get: Timeout, slow_get n1: no answer within 100ms',
    'get n2: 2',
    "ask nobody: NotFound, could not resolve 'nobody' as PID or registered name",
  ])
  expect(code).toBe(0)
})
