// `runtime groups`: process groups and their members, as a running node sees them.

import type { Command } from 'commander'
import type { GroupRow } from '../../admin/shapes.ts'
import { ask, findNode, type NodeChoice } from '../client.ts'
import { EXIT_OK } from '../exit.ts'
import { type CommonOptions, Output } from '../output.ts'

interface GroupsOptions extends CommonOptions, NodeChoice {}

/** PIDs that a row shows; `--json` has all. */
const SHOWN_MAX = 3

export function addGroups(command: Command, end: (exitCode: number) => void): void {
  command
    .description('list the process groups that a running node knows, and who is in them')
    .argument('[scope]', 'only those of this pg.scope entry, by its full id')
    .option('--socket <path>', 'the admin socket of the node')
    .option('--node <name>', 'the node of this name under .runtime/')
    .addHelpText('after', '\nWithout --socket and --node, the only node that runs under .runtime/ is asked.')
    .action(async (scope: string | undefined, options: GroupsOptions) => end(await groups(scope, options)))
}

async function groups(scope: string | undefined, options: GroupsOptions): Promise<number> {
  const output = Output.standard(options)
  const socket = await findNode(options)
  const query = scope === undefined ? '' : `?scope=${encodeURIComponent(scope)}`
  const rows = await ask<GroupRow[]>(socket, `/v1/groups${query}`)
  if (output.isJson) {
    output.json(rows)
    return EXIT_OK
  }
  output.table(rows, [
    { title: 'SCOPE', text: (row) => row.scope },
    { title: 'GROUP', text: (row) => row.group },
    { title: 'COUNT', text: (row) => String(row.members.length), align: 'right' },
    { title: 'MEMBERS', text: ({ members }) => shown(members) },
  ])
  return EXIT_OK
}

function shown(members: readonly string[]): string {
  const first = members.slice(0, SHOWN_MAX).join(', ')
  return members.length > SHOWN_MAX ? `${first}, …` : first
}
