import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { Cli } from '../../test/tools/cli.ts'

const app = join(import.meta.dirname, 'app.yaml')
let cli: Cli

beforeEach(() => {
  cli = new Cli()
})

afterEach(() => cli.close())

test('the ball comes back as often as it was sent', async () => {
  const { code, stdout } = await cli.run(['run', app, '--set', `node.data_dir=${cli.dir}`, '--exec', 'game:ping', '3'])
  expect(stdout).toBe('ping 1, pong 1\nping 2, pong 2\nping 3, pong 3\n')
  expect(code).toBe(0)
})
