type Circle = {r: number @min(0)}
type Shape = Circle | {w: number, h: number}
type Holder<T> = {held: T}

return { Circle = Circle, Shape = Shape, Holder = Holder, version = 2 }
