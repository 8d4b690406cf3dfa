import argparse
import random

import torch
from torch import nn
from torch.utils.data import DataLoader

random.seed(21)
torch.manual_seed(21)

STARS = [1, 2, 3, 4, 5]
COMMON = ["the", "room", "was", "and", "we", "it", "staff", "food", "very", "had", "with", "our"]
TONE = {
    1: ["awful", "dirty", "refund", "rude", "never"],
    2: ["poor", "noisy", "cold", "tired", "slow"],
    3: ["okay", "average", "fine", "fair", "plain"],
    4: ["good", "nice", "clean", "friendly", "tasty"],
    5: ["superb", "perfect", "loved", "amazing", "stunning"],
}


def write_review(stars):
    words = random.choices(COMMON, k=random.randint(6, 14))
    words += random.choices(TONE[stars], k=random.randint(1, 3))
    neighbour = min(5, max(1, stars + random.choice([-1, 1])))
    words += random.choices(TONE[neighbour], k=random.randint(0, 1))
    random.shuffle(words)
    return " ".join(words)


def corpus(n):
    return [(s, write_review(s)) for s in random.choices(STARS, k=n)]


def build_vocab(pairs):
    vocab = {"<unk>": 0}
    for _, text in pairs:
        for tok in text.split():
            vocab.setdefault(tok, len(vocab))
    return vocab


class ReviewNet(nn.Module):
    def __init__(self, vocab_size, embed_dim, num_class):
        super().__init__()
        self.embedding = nn.EmbeddingBag(vocab_size, embed_dim, mode="mean")
        self.norm = nn.LayerNorm(embed_dim)
        self.fc = nn.Linear(embed_dim, num_class)

    def forward(self, text, offsets):
        return self.fc(torch.tanh(self.norm(self.embedding(text, offsets))))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--lr", type=float, default=5e-3)
    args = parser.parse_args()

    train_data, test_data = corpus(1600), corpus(400)
    vocab = build_vocab(train_data)
    text_pipeline = lambda text: [vocab.get(t, 0) for t in text.split()]
    label_pipeline = lambda stars: int(stars)  # <-- here

    def collate_batch(batch):
        labels, texts, offsets = [], [], [0]
        for stars, text in batch:
            labels.append(label_pipeline(stars))
            ids = torch.tensor(text_pipeline(text), dtype=torch.int64)
            texts.append(ids)
            offsets.append(ids.numel())
        return (
            torch.tensor(labels, dtype=torch.int64),
            torch.cat(texts),
            torch.tensor(offsets[:-1]).cumsum(0),
        )

    train_loader = DataLoader(train_data, args.batch_size, shuffle=True, collate_fn=collate_batch)
    test_loader = DataLoader(test_data, args.batch_size, collate_fn=collate_batch)

    model = ReviewNet(len(vocab), 32, len(STARS))
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=args.lr)

    for epoch in range(1, args.epochs + 1):
        model.train()
        correct = count = 0
        for idx, (label, text, offsets) in enumerate(train_loader):
            optimizer.zero_grad()
            predicted = model(text, offsets)
            loss = criterion(predicted, label)  # <-- here
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            correct += (predicted.argmax(1) == label).sum().item()
            count += label.size(0)
            if idx % 25 == 0:
                print(f"| epoch {epoch} | {idx:3d}/{len(train_loader)} batches | accuracy {correct / count:.3f}")
        model.eval()
        hits = total = 0
        with torch.no_grad():
            for label, text, offsets in test_loader:
                hits += (model(text, offsets).argmax(1) == label).sum().item()
                total += label.size(0)
        print(f"end of epoch {epoch}: test accuracy {hits / total:.3f}")


if __name__ == "__main__":
    main()
