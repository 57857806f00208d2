// `runtime cert ca|issue|show`: certificates for the mesh between nodes. operations.md §2.

import { chmodSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { isIP } from 'node:net'
import { join } from 'node:path'
import { type Command, Option } from 'commander'
import type { Issued } from '../../../cluster/mesh/certificates.ts'
import type { CertificateFacts } from '../../../cluster/mesh/identity.ts'
import { codeOf, messageOf } from '../../base/errors.ts'
import { CommandFailure, EXIT_FAILED, EXIT_OK, EXIT_USAGE } from '../exit.ts'
import { type CommonOptions, Output } from '../output.ts'

interface CaOptions extends CommonOptions {
  out: string
  name: string
  days: string
}

interface IssueOptions extends CommonOptions {
  ca: string
  out: string
  days: string
  also?: string[]
}

const CA_DAYS = '3650'
const NODE_DAYS = '365'
const DAYS_MAX = 36_500
const SECRET_MODE = 0o600

const HELP = `
An authority and its key stay where certificates are made; nodes get ca.pem, their own certificate and their own key, as cluster.tls.ca,
cluster.tls.cert and cluster.tls.key. A certificate is for one node: its name is checked by every other node.

Examples:
  runtime cert ca --out certs
  runtime cert issue node-1 --ca certs --out certs
  runtime cert show certs/node-1.pem`

export function addCert(cert: Command, end: (exitCode: number) => void): void {
  cert.description('certificates for the connections between nodes').addHelpText('after', HELP)
  const command = (name: string, description: string): Command =>
    cert
      .command(name)
      .description(description)
      .option('--json', 'the result as JSON on standard output')
      .option('--no-color', 'no colours')
  command('ca', 'make an authority: ca.pem and ca-key.pem')
    .option('--out <dir>', 'where to write them', '.')
    .option('--name <text>', 'what it is called', 'Moonmesh')
    .addOption(new Option('--days <count>', 'how long it is valid').default(CA_DAYS))
    .action(async (options: CaOptions) => end(await ca(options)))
  command('issue', 'make the certificate of a node: NODE.pem and NODE-key.pem')
    .argument('<node>', 'its node.name')
    .option('--ca <dir>', 'where the authority is', '.')
    .option('--out <dir>', 'where to write them', '.')
    .option('--also <name>', 'a further DNS name or address; may be repeated', (value: string, all: string[] = []) => [
      ...all,
      value,
    ])
    .addOption(new Option('--days <count>', 'how long it is valid').default(NODE_DAYS))
    .action(async (node: string, options: IssueOptions) => end(await issue(node, options)))
  command('show', 'what a certificate says, and whether a node can use it')
    .argument('<file>', 'certificates in PEM')
    .action(async (file: string, options: CommonOptions) => end(await show(file, options)))
}

async function ca(options: CaOptions): Promise<number> {
  const files = { cert: join(options.out, 'ca.pem'), key: join(options.out, 'ca-key.pem') }
  refuseToReplace(files)
  const { createAuthority } = await maker()
  const made = await createAuthority({ commonName: options.name, days: daysIn(options.days), nowMs: Date.now() })
  return tell(
    options,
    write(files, made),
    'nodes need ca.pem; ca-key.pem makes certificates and belongs to nobody else',
  )
}

async function issue(node: string, options: IssueOptions): Promise<number> {
  const files = { cert: join(options.out, `${node}.pem`), key: join(options.out, `${node}-key.pem`) }
  // A name with a slash in it would be a path.
  if (/[/\\\0]/.test(node)) throw new CommandFailure(EXIT_USAGE, `${JSON.stringify(node)} cannot name a node`)
  refuseToReplace(files)
  const authority = {
    certPem: read(join(options.ca, 'ca.pem'), HOW),
    keyPem: read(join(options.ca, 'ca-key.pem'), HOW),
  }
  const also = options.also ?? []
  const { issueCertificate } = await maker()
  const made = await issueCertificate({
    authority,
    nodeName: node,
    dnsNames: also.filter((name) => isIP(name) === 0),
    ipAddresses: also.filter((name) => isIP(name) !== 0),
    days: daysIn(options.days),
    nowMs: Date.now(),
  })
  return tell(options, write(files, made), `node ${node} needs both, and ca.pem`)
}

/** Loaded at need: every command starts faster without it. */
const maker = () => import('../../../cluster/mesh/certificates.ts')

const HOW = 'make an authority first: runtime cert ca'

async function show(file: string, options: CommonOptions): Promise<number> {
  const output = Output.standard(options)
  const { describeCertificates } = await import('../../../cluster/mesh/identity.ts')
  let found: CertificateFacts[]
  try {
    found = describeCertificates(read(file))
  } catch (error) {
    if (error instanceof CommandFailure) throw error
    throw new CommandFailure(EXIT_FAILED, `${file}: ${messageOf(error)}`)
  }
  const rows = found.map((facts) => ({
    subject: facts.subject,
    issuer: facts.issuer,
    serial: facts.serialNumber,
    names: facts.names,
    usages: facts.usages,
    not_before: new Date(facts.notBeforeMs).toISOString(),
    not_after: new Date(facts.notAfterMs).toISOString(),
    authority: facts.isAuthority,
    fingerprint: facts.fingerprint,
    problem: problemOf(facts) ?? null,
  }))
  if (output.isJson) output.json(rows)
  else
    for (const row of rows) {
      output.line(output.bold(row.subject))
      output.line(`  ${row.authority ? 'an authority' : `for nodes ${row.names.join(', ') || '(none)'}`}`)
      output.line(`  issued by ${row.issuer}, serial number ${row.serial}`)
      output.line(`  valid from ${row.not_before} until ${row.not_after}`)
      if (!row.authority) output.line(`  usages: ${row.usages.join(', ') || 'none'}`)
      output.line(`  SHA-256 ${row.fingerprint}`)
      if (row.problem !== null) output.line(`  ${output.red(`a node cannot use it: ${row.problem}`)}`)
    }
  return rows.some((row) => row.problem !== null) ? EXIT_FAILED : EXIT_OK
}

function problemOf({ problem, notBeforeMs, notAfterMs }: CertificateFacts): string | undefined {
  const nowMs = Date.now()
  if (nowMs > notAfterMs) return 'it has expired'
  return nowMs < notBeforeMs ? 'it is not valid yet' : problem
}

function daysIn(text: string): number {
  const days = /^\d{1,5}$/.test(text) ? Number(text) : 0
  if (days >= 1 && days <= DAYS_MAX) return days
  throw new CommandFailure(EXIT_USAGE, `--days takes a number from 1 to ${DAYS_MAX}`)
}

interface Files {
  readonly cert: string
  readonly key: string
}

/** A key that is lost by accident takes every certificate with it. */
function refuseToReplace(files: Files): void {
  const there = [files.cert, files.key].filter((file) => existsSync(file))
  if (there.length > 0)
    throw new CommandFailure(EXIT_FAILED, `${there.join(' and ')} exist already; move them away first`)
}

function write(files: Files, { certPem, keyPem }: Issued): Files {
  try {
    for (const file of [files.cert, files.key]) mkdirSync(join(file, '..'), { recursive: true })
    // Nobody else may read it even before its mode is set.
    writeFileSync(files.key, keyPem, { mode: SECRET_MODE, flag: 'wx' })
    chmodSync(files.key, SECRET_MODE)
    writeFileSync(files.cert, certPem, { flag: 'wx' })
    return files
  } catch (error) {
    throw new CommandFailure(EXIT_FAILED, `cannot write certificates: ${messageOf(error)}`)
  }
}

function tell(options: CommonOptions, files: Files, advice: string): number {
  const output = Output.standard(options)
  if (output.isJson) output.json(files)
  else output.line(`wrote ${files.cert} and ${files.key}; ${advice}`)
  return EXIT_OK
}

function read(file: string, how = ''): string {
  try {
    return readFileSync(file, 'utf8')
  } catch (error) {
    const why = codeOf(error) === 'ENOENT' ? 'no such file' : messageOf(error)
    throw new CommandFailure(EXIT_FAILED, `${file}: ${why}${how === '' ? '' : `; ${how}`}`)
  }
}
