// What the layers above hear of members: joined, left, updated, with joined and left strictly alternating per name. A new
// epoch of a known name is the end of one run and the beginning of another, although gossip never saw it dead. cluster.md §3.8.

import type { Address } from './address.ts'
import { isLive, type Member } from './members.ts'

export interface MemberEvent {
  readonly kind: 'joined' | 'left' | 'updated'
  readonly name: string
  readonly epoch: number
  readonly address: Address
  readonly tags: ReadonlyMap<string, string>
  /** Why it left: it said so, it was declared dead, another run took its name, or it speaks for this cluster no more. */
  readonly reason?: 'left' | 'dead' | 'epoch' | 'foreign'
}

export class MemberEvents {
  /** As last told, by name. */
  readonly #told = new Map<string, Member>()

  /** What to tell about a record as it is now. */
  changed(member: Member): MemberEvent[] {
    const out: MemberEvent[] = []
    const before = this.#told.get(member.name)
    const isMember = isLive(member) && member.epoch !== undefined
    if (before !== undefined && (!isMember || before.epoch !== member.epoch)) {
      this.#told.delete(member.name)
      out.push({ ...eventOf('left', before), reason: reasonOf(member) })
    }
    if (!isMember) return out
    const told = this.#told.get(member.name)
    this.#told.set(member.name, member)
    if (told === undefined) out.push(eventOf('joined', member))
    else if (told.meta !== member.meta || told.address !== member.address) out.push(eventOf('updated', member))
    return out
  }
}

function reasonOf(member: Member): 'left' | 'dead' | 'epoch' | 'foreign' {
  if (member.state === 'left' || member.state === 'dead') return member.state
  return member.epoch === undefined ? 'foreign' : 'epoch'
}

function eventOf(kind: MemberEvent['kind'], { name, epoch = 0, address, tags }: Member): MemberEvent {
  return { kind, name, epoch, address, tags }
}
