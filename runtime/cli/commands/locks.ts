// `runtime locks`: locks of the cluster that are held.

import type { Command } from 'commander'
import type { LockRow } from '../../admin/shapes.ts'
import { ask, findNode, type NodeChoice } from '../client.ts'
import { EXIT_OK } from '../exit.ts'
import { type CommonOptions, Output } from '../output.ts'

interface LocksOptions extends CommonOptions, NodeChoice {}

export function addLocks(command: Command, end: (exitCode: number) => void): void {
  command
    .description('list locks of the cluster that are held')
    .argument('[prefix]', 'only locks whose names begin with this', '')
    .option('--socket <path>', 'the admin socket of the node')
    .option('--node <name>', 'the node of this name under .runtime/')
    .addHelpText('after', '\nWithout --socket and --node, the only node that runs under .runtime/ is asked.')
    .action(async (prefix: string, options: LocksOptions) => end(await locks(prefix, options)))
}

async function locks(prefix: string, options: LocksOptions): Promise<number> {
  const output = Output.standard(options)
  const rows = await ask<LockRow[]>(await findNode(options), `/v1/locks?${new URLSearchParams({ prefix })}`)
  if (output.isJson) {
    output.json(rows)
    return EXIT_OK
  }
  output.table(rows, [
    { title: 'NAME', text: (row) => row.name },
    { title: 'HOLDER', text: (row) => row.holder },
    { title: 'NODE', text: (row) => row.node },
    { title: 'TOKEN', text: (row) => String(row.token) },
    { title: 'SINCE', text: (row) => row.since },
    { title: 'WAITERS', text: (row) => String(row.waiters) },
  ])
  return EXIT_OK
}
