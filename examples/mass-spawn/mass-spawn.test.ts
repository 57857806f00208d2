import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { Cli } from '../../test/tools/cli.ts'

const app = join(import.meta.dirname, 'app.yaml')
let cli: Cli

beforeEach(() => {
  cli = new Cli()
})

afterEach(() => cli.close())

test('every one of ten thousand ends is heard of', async () => {
  const args = ['run', app, '--set', `node.data_dir=${cli.dir}`, '--exec', 'mass:main', '10000']
  const { code, stdout } = await cli.run(args)
  const [spawned, ended, sum] = stdout.split('\n')
  expect(spawned).toMatch(/^spawned: 10000 in \d+\.\d\d s, \d+ a second$/)
  expect(ended).toMatch(/^ended: {3}10000 in \d+\.\d\d s, \d+ a second$/)
  expect(sum).toBe('sum of their results: 50005000')
  expect(code).toBe(0)
})
