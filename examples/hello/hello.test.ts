import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { Cli } from '../../test/tools/cli.ts'

const app = join(import.meta.dirname, 'app.yaml')
let cli: Cli

beforeEach(() => {
  cli = new Cli()
})

afterEach(() => cli.close())

const hello = (args: string[], input = '') =>
  cli.run(['run', app, '--set', `node.data_dir=${cli.dir}`, '--exec', 'hello:hello', ...args], { input })

test('greets everybody named on the command line', async () => {
  expect(await hello(['Ada', 'Grace'])).toMatchObject({ code: 0, stdout: 'Hello, Ada!\nHello, Grace!\n', stderr: '' })
})

test('asks for a name when there is none', async () => {
  expect(await hello([], 'Alan\n')).toMatchObject({ code: 0, stdout: 'What is your name? Hello, Alan!\n', stderr: '' })
})

test('fails when nobody answers', async () => {
  expect(await hello([])).toMatchObject({ code: 1, stderr: 'error: nobody is there\n' })
})
