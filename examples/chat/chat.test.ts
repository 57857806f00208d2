// Guests on three nodes meet in a room, and one goes with its node.

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { Cli } from '../../test/tools/cli.ts'

const app = join(import.meta.dirname, 'app.yaml')
const NODES = ['node-1', 'node-2', 'node-3']

let cli: Cli

beforeEach(() => {
  cli = new Cli()
})

afterEach(() => cli.close())

test('guests meet across nodes, talk, and notice who is gone', async () => {
  const dataDir = join(cli.dir, '.runtime')
  const set = ['--set', `node.data_dir=${dataDir}`]
  const cluster = cli.start(['run', app, '--nodes', '3', '--log-format', 'pretty', ...set])
  const prints = (node: string, text: string): Promise<void> => cluster.until(new RegExp(`^${node} .*${text}$`, 'm'))
  for (const node of NODES) {
    for (const other of NODES) {
      if (other !== node) await prints(node, `${other} is in the lobby`)
      await prints(node, `${other}: hello`)
    }
  }
  const listed = await cli.run(['groups', 'chat:rooms', '--json', '--node', 'node-2'])
  expect(JSON.parse(listed.stdout)).toMatchObject([{ scope: 'chat:rooms', group: 'lobby', members: { length: 3 } }])
  process.kill(Number(readFileSync(join(dataDir, 'node-3/pid'), 'utf8')), 'SIGKILL')
  for (const node of ['node-1', 'node-2']) await prints(node, 'node-3 has left the lobby')
  cluster.signal('SIGINT')
  expect((await cluster.exit()).code).toBe(130)
})
