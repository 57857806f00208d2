// `runtime cluster members|join|leave`: the cluster as a running node sees it, and that node's part in it.

import type { Command } from 'commander'
import type { JoinBody, MemberRow } from '../../admin/shapes.ts'
import { ask, findNode, isListening, type NodeChoice } from '../client.ts'
import { CommandFailure, EXIT_FAILED, EXIT_OK } from '../exit.ts'
import { type CommonOptions, Output } from '../output.ts'

type Options = CommonOptions & NodeChoice

/** Joining waits for as many exchanges as there are addresses. */
const JOIN_MS_MAX = 60_000
/** A graceful stop of a node takes 30 s at most unless its settings say otherwise; this is for those that do. */
const LEAVE_MS_MAX = 10 * 60_000
const LEAVE_POLL_MS = 100

export function addCluster(cluster: Command, end: (exitCode: number) => void): void {
  cluster.description('the cluster as a running node sees it')
  const command = (name: string, description: string): Command =>
    cluster
      .command(name)
      .description(description)
      .option('--json', 'the result as JSON on standard output')
      .option('--no-color', 'no colours')
      .option('--socket <path>', 'the admin socket of the node')
      .option('--node <name>', 'the node of this name under .runtime/')
      .addHelpText('after', '\nWithout --socket and --node, the only node that runs under .runtime/ is asked.')
  command('members', 'list every node that is known, in any state').action(async (options: Options) =>
    end(await members(options)),
  )
  command('join', 'join the cluster through these addresses')
    .argument('<address...>', 'of gossip: host, host:port or name/host:port')
    .action(async (addresses: string[], options: Options) => end(await join(addresses, options)))
  command('leave', 'leave the cluster and stop the node').action(async (options: Options) => end(await leave(options)))
}

async function members(options: Options): Promise<number> {
  const output = Output.standard(options)
  const rows = await ask<MemberRow[]>(await findNode(options), '/v1/members')
  if (output.isJson) {
    output.json(rows)
    return EXIT_OK
  }
  output.table(rows, [
    { title: 'NAME', text: (row) => `${row.name}${row.local ? ' *' : ''}` },
    { title: 'ADDRESS', text: (row) => row.addr ?? '-' },
    { title: 'STATE', text: (row) => row.state },
    { title: 'ROLE', text: (row) => row.role },
    { title: 'SUFFRAGE', text: (row) => row.suffrage },
    { title: 'INCARNATION', text: (row) => String(row.incarnation), align: 'right' },
    { title: 'RTT', text: (row) => (row.rtt_ms === null ? '-' : `${row.rtt_ms.toFixed(1)}ms`), align: 'right' },
    { title: 'DOMAIN', text: (row) => (row.failure_domain === '' ? '-' : row.failure_domain) },
    { title: 'VERSION', text: (row) => (row.version === '' ? '-' : row.version) },
  ])
  return EXIT_OK
}

async function join(addresses: readonly string[], options: Options): Promise<number> {
  const output = Output.standard(options)
  const socket = await findNode(options)
  const order = { body: { addresses }, timeoutMs: JOIN_MS_MAX }
  const { joined } = await ask<JoinBody>(socket, '/v1/cluster/join', order)
  if (output.isJson) output.json({ joined })
  if (joined === 0) {
    const which = addresses.length === 1 ? addresses[0] : `any of the ${addresses.length} addresses`
    const named = addresses.some((address) => address.includes('/')) ? ' of that name' : ''
    const text = `nobody${named} answered at ${which}; is a node${named} running there, with the same key and cluster.id? Its log and that of this node say what failed`
    throw new CommandFailure(EXIT_FAILED, text)
  }
  if (!output.isJson) output.line(`joined through ${joined === 1 ? '1 address' : `${joined} addresses`}`)
  return EXIT_OK
}

async function leave(options: Options): Promise<number> {
  const output = Output.standard(options)
  const socket = await findNode(options)
  await ask(socket, '/v1/cluster/leave', { body: {} })
  const deadlineMs = performance.now() + LEAVE_MS_MAX
  while (await isListening(socket)) {
    if (performance.now() > deadlineMs) {
      throw new CommandFailure(EXIT_FAILED, `the node has not stopped within ${LEAVE_MS_MAX / 60_000} minutes`)
    }
    await new Promise((resolve) => setTimeout(resolve, LEAVE_POLL_MS))
  }
  if (output.isJson) output.json({ left: true })
  else output.line('the node has left the cluster and stopped')
  return EXIT_OK
}
