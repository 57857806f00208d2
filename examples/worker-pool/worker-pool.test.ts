import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { Cli } from '../../test/tools/cli.ts'

const app = join(import.meta.dirname, 'app.yaml')
let cli: Cli

beforeEach(() => {
  cli = new Cli()
})

afterEach(() => cli.close())

test('prints the results in the order of the jobs, whatever the order in which they finish', async () => {
  const { code, stdout } = await cli.run(['run', app, '--set', `node.data_dir=${cli.dir}`, '--exec', 'pool:pool'])
  const lines = stdout.trimEnd().split('\n')
  const results = lines.slice(0, 9).map((line) => line.replace(/ \(worker [123]\)$/, ''))
  expect(results).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9].map((number) => `job ${number} = ${number * number}`))
  // The first job takes longest of the first three.
  expect(lines[9]).toMatch(/^finished in the order [23]/)
  expect(code).toBe(0)
})
