import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { Cli } from '../../test/tools/cli.ts'

const app = join(import.meta.dirname, 'app.yaml')
let cli: Cli

beforeEach(() => {
  cli = new Cli()
})

afterEach(() => cli.close())

test('every text is counted once, by handlers that run at the same time', async () => {
  const { code, stdout, stderr } = await cli.run([
    'run',
    app,
    '--set',
    `node.data_dir=${cli.dir}`,
    '--exec',
    'jobs:main',
  ])
  expect(stderr).toBe('')
  expect(stdout.trimEnd().split('\n')).toEqual(['the: 6', 'fox: 3', 'dog: 3', 'bird: 1'])
  expect(code).toBe(0)
})
