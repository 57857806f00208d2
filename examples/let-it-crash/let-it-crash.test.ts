import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { Cli } from '../../test/tools/cli.ts'

const app = join(import.meta.dirname, 'app.yaml')
let cli: Cli

beforeEach(() => {
  cli = new Cli()
})

afterEach(() => cli.close())

test('the node restarts the service; the keeper restarts its child, and gives up', async () => {
  const program = cli.start(['run', app, '--set', `node.data_dir=${cli.dir}`])
  await program.until('crash:keeper.service exited: the child failed too often')
  await program.until(/crash:divider\.service failed: .*attempt to divide by zero; it restarts in .*\(attempt 3\)/)
  program.signal('SIGINT')
  const { code, stderr } = await program.exit()
  expect(code).toBe(130)
  expect(stderr.match(/keeper: the child failed/g)).toHaveLength(4)
  expect(stderr).toContain('keeper: restart 3 of 3')
  expect(stderr).not.toContain('keeper: restart 4')
  expect(stderr.match(/a service: 100 \/\/ 3 = 33/g)?.length).toBeGreaterThan(2)
})
